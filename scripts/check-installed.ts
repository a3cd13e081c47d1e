/**
 * Installs the packed package into empty projects, beside one driver each and once beside none, and uses it there on
 * every Node it promises to run on: what npm brings, types, imports, missing drivers, the README's quick start.
 *
 *     npm run build && npx tsx scripts/check-installed.ts
 *
 * `POSTGRES_URL` and `MYSQL_URL` name servers; where one is not set, the quick start on that database is skipped.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, bundles } from './check-installed/bundles.ts'
import { type Driver, drivers } from './check-installed/drivers.ts'
import { type Loader, loaders } from './check-installed/loaders.ts'
import {
  entriesProgram,
  handleProgram,
  missingProgram,
  pickleProgram,
  quickStart,
} from './check-installed/programs.ts'
import { type Output, Project, run } from './check-installed/project.ts'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly engines: { readonly node: string }
  readonly exports: Readonly<Record<string, string | null | { readonly default: string }>>
  readonly peerDependencies: Readonly<Record<string, string>>
}

const root = fileURLToPath(new URL('../', import.meta.url))
const manifest = manifestIn(root)
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const versions = [`${manifest.engines.node.replace('>=', '')}.0`, '22', '24']
const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-installed-'))
const tarball = join(directory, `${manifest.name}-${manifest.version}.tgz`)
const nodes = new Project(join(directory, 'nodes'))
const counts = { passed: 0, failed: 0, skipped: 0 }

try {
  await check('npm pack', () => run('npm', ['pack', '--pack-destination', directory], { cwd: root }))
  await check(`Node ${versions.join(', ')}`, installNodes)
  if (counts.failed === 0) {
    await twoAtATime([...drivers, null], checkProject)
    await twoAtATime(drivers, checkOldest)
    await checkBundles()
    await twoAtATime(loaders, checkLoader)
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exitCode = counts.failed > 0 ? 1 : 0

/** By npm's package `node`, whose script fetches the binary for this machine. */
async function installNodes(): Promise<void> {
  const dependencies = Object.fromEntries(versions.map((version) => [version, `npm:node@${version}`]))
  await nodes.install({ dependencies, allowScripts: { node: true } })
  for (const version of versions) {
    const { stdout } = await run(binary(version), ['--version'], { cwd: directory })
    assert.match(stdout, new RegExp(`^v${version}\\b`))
  }
}

function binary(version: string): string {
  return nodes.path('node_modules', version, 'bin/node')
}

/** As CI has two cores. */
async function twoAtATime<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const waiting = items.values()
  const worker = async () => {
    for (const item of waiting) await work(item)
  }
  await Promise.all([worker(), worker()])
}

async function checkProject(driver: Driver | null): Promise<void> {
  const name = driver?.drizzle ?? 'no driver'
  const project = new Project(join(directory, name))
  const asked = ['drizzle-orm', ...(driver ? [driver.name] : [])]
  const claim = `npm install brings only ${manifest.name}, ${asked.join(', ')} and what they need`
  const isInstalled = await check(`${name}: ${claim}`, async () => {
    await project.install({
      dependencies: { ...locked(asked), [manifest.name]: `file:${tarball}` },
      devDependencies: locked(['typescript', '@types/node']),
    })
    assert.deepEqual(project.surplus(asked), [manifest.name])
  })
  if (!isInstalled) return

  const absent = drivers.filter((other) => other !== driver)
  const steps = driver ? quickStart(readme, driver) : [pickleProgram]
  await check(`${name}: types`, async () => {
    project.write('entries.ts', entriesProgram(entriesIn(project)))
    project.write('missing.ts', missingProgram(absent))
    if (driver) project.write('handle.ts', handleProgram(driver))
    for (const [index, step] of steps.entries()) project.write(`step-${index}.ts`, step)
    await project.compile()
  })

  for (const version of versions) {
    const on = `${name}, Node ${version}`
    await check(`${on}: every entry imports`, async () => {
      assert.deepEqual(await project.node(binary(version), 'entries.js'), { stdout: 'true\n', stderr: '' })
    })
    await check(`${on}: missing drivers are told, with what to install`, async () => {
      const stdout = absent.map((driver) => `MISSING_DRIVER npm install ${driver.name}\n`).join('')
      assert.deepEqual(await project.node(binary(version), 'missing.js'), { stdout, stderr: '' })
    })
    const works = `${on}: ${driver ? 'the quick start' : 'pickle'} works`
    if (hasServer(driver)) await check(works, () => takeSteps(project, version, driver, steps.length))
    else tell('skipped', `${works} (its server is not named)`)
  }
}

/** The oldest versions that `peerDependencies` allows, on the oldest Node. */
async function checkOldest(driver: Driver): Promise<void> {
  const project = new Project(join(directory, `${driver.drizzle}-oldest`))
  const dependencies = oldest(['drizzle-orm', driver.name])
  const works = `${Object.entries(dependencies).join(' and ').replaceAll(',', ' ')}: the quick start works`
  if (!hasServer(driver)) return tell('skipped', `${works} (its server is not named)`)
  await check(works, async () => {
    await project.install({
      dependencies: { ...dependencies, [manifest.name]: `file:${tarball}` },
      devDependencies: locked(['typescript', '@types/node']),
    })
    const steps = quickStart(readme, driver)
    for (const [index, step] of steps.entries()) project.write(`step-${index}.ts`, step)
    await project.compile()
    await takeSteps(project, versions[0] ?? '', driver, steps.length)
  })
}

/** Missing drivers, where others than Node look for packages. */
async function checkLoader({ name, prove }: Loader): Promise<void> {
  const project = new Project(join(directory, name))
  project.write('missing.js', missingProgram(drivers))
  const dependencies = { ...locked(['drizzle-orm']), [manifest.name]: `file:${tarball}` }
  await check(`${name}: missing drivers are told, with what to install`, () => prove(project, dependencies))
}

/** One program beside all drivers, as it is and as bundlers make it: nothing it prints may depend on which. */
async function checkBundles(): Promise<void> {
  const project = new Project(join(directory, 'bundled'))
  const asked = ['drizzle-orm', ...drivers.map(({ name }) => name)]
  let unbundled = ''
  const isWhole = await check('beside all drivers: the program that will be bundled', async () => {
    await project.install({
      dependencies: { ...locked(asked), [manifest.name]: `file:${tarball}` },
      devDependencies: locked(['typescript', '@types/node', 'esbuild']),
      allowScripts: { esbuild: true },
    })
    project.write('main.ts', readFileSync(join(root, 'scripts/check-installed/bundled.ts'), 'utf8'))
    await project.compile()
    unbundled = await runBundle(project, 'main.js')
    assert.match(unbundled, /^classes of another name: \[\[\]\]$/m)
  })
  if (!isWhole) return
  for (const each of bundles) {
    await check(`bundled with short names, ${each.name}: prints the same`, async () => {
      await bundle(project, each)
      assert.equal(await runBundle(project, each.program), unbundled)
    })
  }
}

/** On the servers that are named, in databases of its own. */
async function runBundle(project: Project, program: string): Promise<string> {
  const present = drivers.filter(hasServer)
  const databases = await Promise.all(present.map(({ server }) => server?.create()))
  try {
    rmSync(project.path('bundled.db'), { force: true })
    const local: Record<string, string> = { libsql: 'file:bundled.db', pglite: 'pglite:' }
    const dburis = present.map(({ drizzle }, index) => databases[index]?.dburi ?? local[drizzle])
    const { stdout, stderr } = await project.node(binary(versions[0] ?? ''), program, '.', [
      JSON.stringify(dburis),
    ])
    assert.equal(stderr, '')
    return stdout
  } finally {
    await Promise.all(databases.map((database) => database?.drop()))
  }
}

function hasServer(driver: Driver | null): boolean {
  return !driver?.server || Boolean(process.env[driver.server.variable])
}

/** On each Node in a directory, and where there is a server in a database, of its own. */
async function takeSteps(
  project: Project,
  version: string,
  driver: Driver | null,
  steps: number,
): Promise<void> {
  const database = await driver?.server?.create()
  try {
    const outputs: Output[] = []
    for (let index = 0; index < steps; index++) {
      const step = project.read(`step-${index}.js`)
      const own = `${version}/step-${index}.js`
      project.write(own, driver && database ? step.replaceAll(driver.dburi, database.dburi) : step)
      outputs.push(await project.node(binary(version), own, version))
    }
    assert.equal(outputs.map(({ stdout }) => stdout).join(''), 'SUCCESS\n')
    assert.equal(outputs.map(({ stderr }) => stderr).join(''), '')
  } finally {
    await database?.drop()
  }
}

/** What `exports` promises, with the files that stand for `*`. */
function entriesIn(project: Project): string[] {
  return Object.entries(manifest.exports).flatMap(([entry, target]) => {
    if (target === null || typeof target === 'string') return []
    const name = posix.join(manifest.name, entry)
    const [folder = '', ending] = target.default.split('*')
    if (ending === undefined) return [name]
    return readdirSync(project.path('node_modules', manifest.name, folder))
      .filter((file) => file.endsWith(ending))
      .map((file) => name.replace('*', file.slice(0, -ending.length)))
  })
}

/** The versions this project is tested with. */
function locked(names: readonly string[]): Record<string, string> {
  const version = (name: string) => manifestIn(join(root, 'node_modules', name)).version
  return Object.fromEntries(names.map((name) => [name, version(name)]))
}

function oldest(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => [name, manifest.peerDependencies[name]?.match(/\d[\w.-]*/)?.[0] ?? '']),
  )
}

function manifestIn(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

async function check(claim: string, prove: () => Promise<unknown>): Promise<boolean> {
  try {
    await prove()
    tell('passed', claim)
    return true
  } catch (error) {
    tell('failed', claim)
    console.log(error instanceof Error ? error.message : error)
    return false
  }
}

function tell(outcome: keyof typeof counts, claim: string): void {
  counts[outcome]++
  console.log(`${outcome.padEnd(7)}  ${claim}`)
}
