/**
 * Installs the packed package into empty projects, beside one driver each and once beside none, and uses it there on
 * every Node it promises to run on: what npm brings, types, imports, missing drivers, the first programs of the README and
 * the guides, and the recipes for frameworks.
 *
 *     npm run build && npx tsx scripts/check-installed.ts [PART …]
 *
 * The parts are those of `parts` below, all of them by default. `POSTGRES_URL` and `MYSQL_URL` name servers; where one is not
 * set, the programs on that database are skipped.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, bundles } from './check-installed/bundles.ts'
import { coreProgram, strangersIn } from './check-installed/core.ts'
import { type Driver, drivers } from './check-installed/drivers.ts'
import { type Example, examples, installExample } from './check-installed/examples.ts'
import { type Installer, installers } from './check-installed/installers.ts'
import { type Loader, loaders } from './check-installed/loaders.ts'
import { bundleAlone, bundlers, oneDriverProgram } from './check-installed/one-driver.ts'
import { assertMounted, MOUNTS, pagePrograms, SERVERS } from './check-installed/page.ts'
import {
  entriesProgram,
  handleProgram,
  missingProgram,
  namedPrograms,
  pickleProgram,
  programsFor,
  requiredProgram,
} from './check-installed/programs.ts'
import { type Output, Project, run } from './check-installed/project.ts'
import { runBy, runtimes } from './check-installed/runtimes.ts'
import { compileEverywhere, compilers, costRatio, kinds } from './check-installed/types.ts'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly engines: { readonly node: string }
  readonly exports: Readonly<
    Record<string, string | null | { readonly import: { readonly default: string } }>
  >
  readonly peerDependencies: Readonly<Record<string, string>>
}

const root = fileURLToPath(new URL('../', import.meta.url))
const manifest = manifestIn(root)
const page = (name: string) => readFileSync(join(root, name), 'utf8')
const firstPrograms = page('README.md').split(/^## Your own tables$/m)[0] + page('docs/getting-started.md')
const versions = [`${manifest.engines.node.replace('>=', '')}.0`, '22', '24']
const directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-installed-'))
const tarball = join(directory, `${manifest.name}-${manifest.version}.tgz`)
/** The peer of `drizzle-celery/opentelemetry`. */
const TRACING = '@opentelemetry/api'
const nodes = new Project(join(directory, 'nodes'))
/** The first version of the other major that `peerDependencies` allows. */
const DRIZZLE_1 = { 'drizzle-orm': manifest.peerDependencies['drizzle-orm']?.match(/1[\w.-]+/)?.[0] ?? '' }
const FRAMEWORKS = {
  ...SERVERS,
  ...{ rxjs: '^7', 'reflect-metadata': '^0.2' },
  ...{ '@nestjs/common': '^11', '@nestjs/core': '^11', '@nestjs/platform-express': '^11' },
}
/** As `recipes.js` names them. */
const RECIPES = ['next', 'fastify', 'express', 'hono', 'nest', 'lambda', 'worker']
const isLong = Boolean(process.env['LONG'])
const counts = { passed: 0, failed: 0, skipped: 0 }
/** What is checked, by the names that choose it. What takes long at a stretch comes first, so that nothing waits for it at the end. */
const parts: Readonly<Record<string, () => Promise<unknown>>> = {
  ...Object.fromEntries(examples.map((each) => [each.folder, () => checkExample(each)])),
  recipes: checkRecipes,
  types: checkTypes,
  'types-1.0': checkTypesOfDrizzle1,
  drivers: () => Promise.all([...drivers, null].map(checkProject)),
  bundlers: checkAllBundlers,
  bundles: checkBundles,
  oldest: () => Promise.all(drivers.map(checkOldest)),
  runtimes: checkRuntimes,
  installers: () => Promise.all(installers.map(checkInstaller)),
  loaders: () => Promise.all(loaders.map(checkLoader)),
}
const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => !Object.hasOwn(parts, name))
assert.deepEqual(unknown, [], `the parts are ${Object.keys(parts).join(', ')}`)

/** How many more checks may run, and what starts those that wait. */
let free = 3
const waiting: (() => void)[] = []
const took: { readonly claim: string; readonly seconds: number }[] = []

try {
  await check('npm pack', () => run('npm', ['pack', '--pack-destination', directory], { cwd: root }))
  await check(`Node ${versions.join(', ')}`, installNodes)
  if (counts.failed === 0) {
    const isChosen = (name: string) => chosen.length === 0 || chosen.includes(name)
    await Promise.all(Object.entries(parts).map(([name, part]) => isChosen(name) && part()))
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
const slowest = took.toSorted((one, other) => other.seconds - one.seconds).slice(0, 10)
console.log(`\nThe slowest of ${took.length} checks:`)
for (const { seconds, claim } of slowest) console.log(`${seconds.toFixed(1).padStart(7)} s  ${claim}`)
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

async function checkProject(driver: Driver | null): Promise<void> {
  const name = driver?.drizzle ?? 'no driver'
  const project = new Project(join(directory, name))
  const peers = name === 'postgres-js' ? [TRACING] : []
  const asked = ['drizzle-orm', ...(driver ? [driver.name] : []), ...peers]
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
  const steps = driver ? programsFor(driver, firstPrograms) : [pickleProgram]
  await check(`${name}: types`, async () => {
    project.write('entries.ts', entriesProgram(entriesIn(project)))
    project.write('entries.cjs', requiredProgram(entriesIn(project)))
    project.write('missing.ts', missingProgram(absent))
    if (driver) project.write('handle.ts', handleProgram(driver))
    for (const [index, step] of steps.entries()) project.write(`step-${index}.ts`, step)
    await project.compile()
  })

  for (const version of versions) {
    const on = `${name}, Node ${version}`
    for (const [how, program] of [
      ['imports', 'entries.js'],
      ['is required', 'entries.cjs'],
    ] as const) {
      await check(`${on}: every entry ${how}`, async () => {
        assert.deepEqual(await project.node(binary(version), program), { stdout: 'true\n', stderr: '' })
      })
    }
    await check(`${on}: missing drivers are told, with what to install`, async () => {
      const stdout = absent.map((driver) => `MISSING_DRIVER npm install ${driver.name}\n`).join('')
      assert.deepEqual(await project.node(binary(version), 'missing.js'), { stdout, stderr: '' })
    })
    const works = `${on}: ${driver ? 'the first programs' : 'pickle'} work`
    if (hasServer(driver)) await check(works, () => takeSteps(project, version, driver, steps.length))
    else tell('skipped', `${works} (its server is not named)`)
  }
}

/** The oldest versions that `peerDependencies` allows, on the oldest Node. */
async function checkOldest(driver: Driver): Promise<void> {
  const project = new Project(join(directory, `${driver.drizzle}-oldest`))
  const dependencies = oldest(['drizzle-orm', driver.name])
  const works = `${Object.entries(dependencies).join(' and ').replaceAll(',', ' ')}: the first programs work`
  if (!hasServer(driver)) return tell('skipped', `${works} (its server is not named)`)
  await check(works, async () => {
    await project.install({
      dependencies: { ...dependencies, [manifest.name]: `file:${tarball}` },
      devDependencies: locked(['typescript', '@types/node']),
    })
    const steps = programsFor(driver, firstPrograms)
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

/** A program on each database, and a driver that is missing, by what is no Node. */
async function checkRuntimes(): Promise<void> {
  const project = new Project(join(directory, 'runtimes'))
  const [absent, ...present] = [...drivers].reverse()
  if (absent === undefined) return
  const packages: Record<string, string> = Object.assign({}, ...runtimes.map(({ packages }) => packages))
  const isReady = await check(`${Object.keys(packages).join(', ')}: npm install`, async () => {
    project.write('main.js', oneDriverProgram)
    await project.install({
      dependencies: {
        ...locked(['drizzle-orm', ...present.map(({ name }) => name)]),
        [manifest.name]: `file:${tarball}`,
      },
      devDependencies: packages,
      allowScripts: Object.fromEntries(Object.keys(packages).map((name) => [name, true])),
    })
  })
  if (!isReady) return
  for (const runtime of runtimes) {
    for (const driver of present.filter(hasServer)) {
      await check(`${runtime.name}: a program by ${driver.name}`, async () => {
        const database = await driver.server?.create()
        try {
          const dburi = database?.dburi ?? `file:${runtime.name}.db`
          const { stdout } = await runBy(runtime, project, 'main.js', [dburi, absent.dburi])
          assert.equal(stdout, `bundled\nMISSING_DRIVER npm install ${absent.name}\n`)
        } finally {
          await database?.drop()
        }
      })
    }
  }
}

/** Programs by the drivers that need no server, and drivers that are missing, installed by what is no npm. */
async function checkInstaller({ name, install, runMain }: Installer): Promise<void> {
  const project = new Project(join(directory, `by ${name}`))
  const present = drivers.filter(({ server }) => server === undefined)
  const absent = drivers.filter(({ server }) => server !== undefined)
  await check(`${name}: programs, and missing drivers`, async () => {
    project.write('main.js', oneDriverProgram)
    await install(project, {
      ...locked(['drizzle-orm', ...present.map(({ name }) => name)]),
      [manifest.name]: `file:${tarball}`,
    })
    const stdout = ['bundled', ...absent.map(({ name }) => `MISSING_DRIVER npm install ${name}`), ''].join(
      '\n',
    )
    for (const { dburi } of present) {
      const args = [dburi, ...absent.map(({ dburi }) => dburi)]
      assert.deepEqual(await runMain(project, binary(versions[0] ?? ''), args), { stdout, stderr: '' })
    }
  })
}

/** The programs of docs/frameworks.md: each serves a request that writes a row, and one that reads it; and of docs/web.md. */
async function checkRecipes(): Promise<void> {
  const project = new Project(join(directory, 'recipes'))
  const pageDburi = `file:${project.path('page.db')}`
  const isReady = await check('recipes: types', async () => {
    await project.install({
      dependencies: {
        ...locked(['drizzle-orm', '@libsql/client']),
        ...FRAMEWORKS,
        [manifest.name]: `file:${tarball}`,
      },
      devDependencies: { ...locked(['typescript', '@types/node']), '@types/express': '^5' },
      // Fastify takes cookie 2 too, which npm would choose, and which wants Node 22.
      overrides: { cookie: '^1' },
    })
    for (const [name, code] of namedPrograms(page('docs/frameworks.md'))) project.write(name, code)
    project.write('main.js', page('scripts/check-installed/recipes.js'))
    const programs = pagePrograms(pageDburi)
    for (const name of ['results', ...MOUNTS])
      project.write(`page/${name}.ts`, programs.get(`${name}.ts`) ?? '')
    await project.compile({ experimentalDecorators: true, rewriteRelativeImportExtensions: true })
  })
  if (!isReady) return
  for (const recipe of RECIPES) {
    await check(`recipes: ${recipe} writes and reads`, async () => {
      const { stdout, stderr } = await project.node(binary('22'), 'main.js', '.', [recipe])
      assert.deepEqual({ stdout, stderr }, { stdout: `${recipe} was here\n`, stderr: '' })
    })
  }
  for (const mount of MOUNTS) {
    await check(`recipes: the page in ${mount} shows, tells and forgets`, () =>
      assertMounted(project, binary('22'), mount, pageDburi, 'page'),
    )
  }
}

async function checkExample({ folder, prove }: Example): Promise<void> {
  const project = new Project(join(directory, `example-${folder}`))
  await check(`examples/${folder}: installs, runs and stops`, async () => {
    await installExample(project, join(root, 'examples'), folder, tarball)
    await prove(project)
  })
}

function checkAllBundlers(): Promise<unknown> {
  // With 1.0 what says how a driver gives values is a part of ours: one driver is enough, where LONG does not ask for all.
  const besideDrizzle1 = isLong ? drivers : drivers.slice(0, 1)
  return Promise.all([
    ...drivers.map((driver) => checkBundlers(driver, locked(['drizzle-orm']))),
    ...besideDrizzle1.map((driver) => checkBundlers(driver, DRIZZLE_1)),
  ])
}

/**
 * A program beside one driver, bundled with nothing configured, runs where nothing is installed.
 * @param drizzle drizzle-orm, with its version
 */
async function checkBundlers(driver: Driver, drizzle: Readonly<Record<string, string>>): Promise<void> {
  const beside = `drizzle-orm ${drizzle['drizzle-orm']} and ${driver.name} alone`
  if (!hasServer(driver)) return tell('skipped', `bundled with ${beside} (its server is not named)`)
  const project = new Project(join(directory, `${driver.adapter}-bundled-${drizzle['drizzle-orm']}`))
  const others = drivers.filter((other) => other !== driver)
  const stdout = ['bundled', ...others.map(({ name }) => `MISSING_DRIVER npm install ${name}`), ''].join('\n')
  const isReady = await check(`bundlers beside ${beside}`, async () => {
    project.write('main.js', oneDriverProgram)
    await project.install({
      dependencies: { ...locked([driver.name]), ...drizzle, [manifest.name]: `file:${tarball}` },
      devDependencies: Object.assign({}, ...bundlers.map(({ packages }) => packages)),
      allowScripts: { esbuild: true },
    })
  })
  if (!isReady) return
  for (const bundler of bundlers) {
    const claim = `${bundler.name} beside ${beside}: its bundle runs in an empty folder`
    const reason = bundler.cannot?.[driver.name]
    if (reason !== undefined) {
      tell('skipped', `${claim} (${reason})`)
      continue
    }
    const database = await driver.server?.create()
    await check(claim, async () => {
      const program = await bundleAlone(project, bundler, driver.name, `${project.directory}-alone`)
      const dburi = database?.dburi ?? driver.dburi
      const args = [program, dburi, ...others.map(({ dburi }) => dburi)]
      const ran = await run(binary(versions[0] ?? ''), args, { cwd: dirname(program), env: {} })
      assert.deepEqual(ran, { stdout, stderr: '' })
    })
    await database?.drop()
  }
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
    for (const driver of drivers) project.write(`core-${driver.adapter}.ts`, coreProgram(driver))
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
  for (const driver of drivers) {
    await check(`drizzle-celery/core with ${driver.adapter}: its bundle holds no other adapter`, async () => {
      assert.deepEqual(await strangersIn(project, `core-${driver.adapter}.js`, driver), [])
      // PGlite looks for files beside its module, which is not in this bundle.
      if (driver.adapter !== 'pglite' && hasServer(driver)) await runCore(project, driver)
    })
  }
}

async function runCore(project: Project, driver: Driver): Promise<void> {
  const database = await driver.server?.create()
  try {
    const dburi = database?.dburi ?? driver.dburi
    const ran = await project.node(binary(versions[0] ?? ''), 'core/main.cjs', '.', [dburi])
    assert.deepEqual(ran, { stdout: "[ 'one adapter' ]\n", stderr: '' })
  } finally {
    await database?.drop()
  }
}

/** What compilers of all ages make of the types. */
async function checkTypes(): Promise<void> {
  const project = await compiledEverywhere('types', locked(['drizzle-orm']), Object.keys(compilers))
  if (project === null) return
  for (const compiler of ['typescript-5.9', 'typescript-7']) {
    await check(`${compiler}: a query costs at most twice the types it does by Drizzle alone`, async () => {
      const ratio = await costRatio(project, compiler)
      assert.ok(ratio <= 2, `${ratio.toFixed(2)} times`)
    })
  }
}

/** The types beside the other major of Drizzle than they are built with. */
async function checkTypesOfDrizzle1(): Promise<void> {
  await compiledEverywhere('types-1.0', DRIZZLE_1, ['typescript-5.9', 'typescript-7'])
}

/** @returns the project, if it could be installed */
async function compiledEverywhere(
  folder: string,
  drizzle: Readonly<Record<string, string>>,
  by: readonly string[],
): Promise<Project | null> {
  const project = new Project(join(directory, folder))
  const beside = `drizzle-orm ${drizzle['drizzle-orm']}`
  const isInstalled = await check(`${beside} and ${by.join(', ')}: npm install`, () =>
    project.install({
      dependencies: { ...locked(['postgres', TRACING]), ...drizzle, [manifest.name]: `file:${tarball}` },
      devDependencies: {
        ...locked(['@types/node']),
        ...Object.fromEntries(by.map((compiler) => [compiler, compilers[compiler]])),
      },
    }),
  )
  if (!isInstalled) return null
  const everywhere = by.flatMap((compiler) => Object.keys(kinds).map((kind) => ({ compiler, kind })))
  await Promise.all(
    everywhere.map(({ compiler, kind }) =>
      check(`${beside}, ${compiler}, ${kind}: all entries compile, without skipLibCheck`, () =>
        compileEverywhere(project, compiler, kind, entriesProgram(entriesIn(project))),
      ),
    ),
  )
  return project
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
    for (const { stdout } of outputs) assert.match(stdout, /'hello'/)
    assert.equal(outputs.map(({ stderr }) => stderr).join(''), '')
  } finally {
    await database?.drop()
  }
}

/** What `exports` promises, with the files that stand for `*`, but for what wants a peer that is not installed. */
function entriesIn(project: Project): string[] {
  const traces = existsSync(project.path('node_modules', TRACING))
  return Object.entries(manifest.exports).flatMap(([entry, target]) => {
    if (target === null || typeof target === 'string') return []
    if (entry === './opentelemetry' && !traces) return []
    const name = posix.join(manifest.name, entry)
    const [folder = '', ending] = target.import.default.split('*')
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

/** Three at a time, for CI has two cores and npm waits for its network; the others wait in the order they came. */
async function check(claim: string, prove: () => Promise<unknown>): Promise<boolean> {
  if (free > 0) free--
  else await new Promise<void>((resolve) => waiting.push(resolve))
  const startedAt = performance.now()
  try {
    await prove()
    tell('passed', claim)
    return true
  } catch (error) {
    tell('failed', claim)
    console.log(error instanceof Error ? error.message : error)
    return false
  } finally {
    took.push({ claim, seconds: (performance.now() - startedAt) / 1_000 })
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
}

function tell(outcome: keyof typeof counts, claim: string): void {
  counts[outcome]++
  console.log(`${outcome.padEnd(7)}  ${claim}`)
}
