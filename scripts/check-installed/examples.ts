import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assertMounted, pagePrograms } from './page.ts'
import { type Project, run } from './project.ts'

/** An example of `examples/`, and what shows that it works once it is installed. */
export interface Example {
  readonly folder: string
  prove(project: Project): Promise<void>
}

export const examples: readonly Example[] = [
  { folder: 'worker', prove: works },
  { folder: 'nestjs', prove: servesNotes },
  {
    folder: 'nextjs',
    async prove(project) {
      const dburi = `file:${project.path('page.db')}`
      const programs = pagePrograms(dburi)
      project.write('results.ts', programs.get('results.ts') ?? '')
      project.write('app/results/[[...path]]/route.ts', programs.get('next.ts') ?? '')
      const showsNotes = async (address: string) => {
        await contains(address, 'hello')
        await assertMounted(project, process.execPath, address, dburi)
      }
      await servesNotes(project, showsNotes)
      // What `output: 'standalone'` traced is whole: it runs where nothing else is.
      const alone = mkdtempSync(`${project.directory}-alone-`)
      cpSync(project.path('.next/standalone'), alone, { recursive: true })
      await serveNotes((env) => startIn(alone, process.execPath, ['server.js'], env), showsNotes)
    },
  },
]

/** Copies an example into a project, and installs it with the package at `tarball`. */
export async function installExample(
  project: Project,
  examplesFolder: string,
  folder: string,
  tarball: string,
) {
  cpSync(join(examplesFolder, folder), project.directory, { recursive: true })
  const manifest = JSON.parse(project.read('package.json'))
  manifest.dependencies['drizzle-celery'] = `file:${tarball}`
  // esbuild is what tsx needs.
  await project.install({ ...manifest, allowScripts: { esbuild: true } })
}

/** Writes a note by HTTP, reads it by HTTP, and stops without an error when it is told to. */
async function servesNotes(project: Project, also?: (address: string) => Promise<void>): Promise<void> {
  await run('npm', ['run', 'build'], { cwd: project.directory })
  await serveNotes((env) => start(project, 'start', env), also)
}

async function serveNotes(
  startServer: (env: NodeJS.ProcessEnv) => ChildProcess,
  also: (address: string) => Promise<void> = async () => {},
): Promise<void> {
  const port = await freePort()
  const server = startServer({ PORT: String(port), HOSTNAME: '127.0.0.1' })
  const address = `http://127.0.0.1:${port}`
  try {
    await answers(`${address}/notes`, server)
    const headers = { 'content-type': 'application/json' }
    const written = await fetch(`${address}/notes`, { method: 'POST', headers, body: '{"body":"hello"}' })
    assert.equal(written.status, 201)
    assert.deepEqual(await (await fetch(`${address}/notes`)).json(), [{ id: 1, body: 'hello' }])
    await also(address)
  } finally {
    await stop(server)
  }
}

/** Does what was added, and stops without an error when it is told to. */
async function works(project: Project): Promise<void> {
  await run('npm', ['run', 'add', '--', 'one'], { cwd: project.directory })
  const worker = start(project, 'start', {})
  let printed = ''
  worker.stdout?.on('data', (bytes) => {
    printed += bytes
  })
  try {
    await run('npm', ['run', 'add', '--', 'two'], { cwd: project.directory })
    while (!printed.includes('two') && worker.exitCode === null) await sleep(50)
  } finally {
    await stop(worker)
  }
  assert.match(printed, /done: one\ndone: two\n$/)
}

/** In a process group of its own, since npm starts more processes. */
function start(project: Project, script: string, env: NodeJS.ProcessEnv): ChildProcess {
  return startIn(project.directory, 'npm', ['run', '--silent', script], env)
}

function startIn(
  cwd: string,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): ChildProcess {
  return spawn(program, args, {
    cwd,
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return
  const exited = once(child, 'exit')
  process.kill(-child.pid, 'SIGTERM')
  await exited
}

async function answers(url: string, server: ChildProcess): Promise<void> {
  while (server.exitCode === null) {
    const response = await fetch(url).catch(() => null)
    if (response?.ok) return
    await sleep(100)
  }
  throw new Error(`The server ended with ${server.exitCode}`)
}

async function contains(url: string, text: string): Promise<void> {
  const page = await (await fetch(url)).text()
  assert.ok(page.includes(text), `${url} has "${text}"`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  assert.ok(typeof address === 'object' && address !== null)
  return address.port
}
