/** `drizzle-celery web`: the page by itself, as a process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseBackend } from 'drizzle-celery/backend'
import { expect, it, onTestFinished, vi } from 'vitest'
import { compiled, projectRoot } from '../fixtures/compile.ts'

// A busy machine takes long to start the command.
vi.setConfig({ testTimeout: 120_000 })
const main = await compiled(join(projectRoot, 'src/cli/main.ts'))

async function database(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'dc-cli-web-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const dburi = `file:${join(directory, 'results.db')}`
  await using backend = new DatabaseBackend(dburi, { resultExtended: true })
  await backend.storeResult('t', 1, 'SUCCESS', { request: { task: 'shop.add' } })
  return dburi
}

function web(...args: readonly string[]) {
  const env = { ...process.env, NO_COLOR: '', FORCE_COLOR: '', DATABASE_URL: '', NODE_OPTIONS: '' }
  const child = spawn(process.execPath, [main, 'web', ...args], { env })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said.err += text
  })
  const ended = once(child, 'close').then(([code]) => ({ code, ...said }))
  const url = async () => {
    await expect.poll(() => said.out, { timeout: 60_000 }).toMatch(/http:\S+/)
    return new URL(/http:[^\s"]+/.exec(said.out)?.[0] ?? '')
  }
  return { child, ended, url }
}

it('prints its address with a token that lets one in, and ends by Ctrl-C', async () => {
  const { child, ended, url } = web(await database(), '--port', '0')
  const address = await url()
  const token = address.searchParams.get('token') ?? ''
  expect([address.hostname, token.length]).toEqual(['127.0.0.1', 24])

  expect((await fetch(address.origin)).status).toBe(401)
  const welcome = await fetch(address)
  const [cookie = ''] = welcome.headers.getSetCookie()
  const page = await fetch(address.origin, { headers: { cookie } })
  expect([page.status, (await page.text()).includes('shop.add')]).toEqual([200, true])
  // Read-only, unless --write is given.
  const task = await fetch(`${address.origin}/task?id=t`, { headers: { cookie } })
  expect(await task.text()).not.toContain('method="post"')

  child.kill('SIGINT')
  expect(await ended).toMatchObject({ code: 130, err: '' })
})

it('takes a token of yours, which it does not print, names of hosts, and --write', async () => {
  const token = 'a-token-of-my-own'
  const args = [
    '--port',
    '0',
    '--token',
    token,
    '--allowed-host',
    'results.example.com',
    '--write',
    '--older-than',
    '2d',
    '--json',
  ]
  const { child, ended, url } = web(await database(), ...args)
  const { origin } = await url()
  const headers = { authorization: `Bearer ${token}` }

  expect(await (await fetch(`${origin}/charts`, { headers })).text()).toContain('older than 2 days')
  child.kill('SIGTERM')
  const { code, out, err } = await ended
  expect([code, err, JSON.parse(out)]).toEqual([130, '', { url: `${origin}/` }])
})

it('says in one line what is wrong', { tags: 'full' }, async () => {
  const dburi = await database()
  for (const [args, message] of [
    [['--port', '99999'], /--port takes a number/],
    [['--older-than', '2d'], /--older-than goes with --write/],
    [['--token', 'short', '--port', '0'], /token.*16 to 256/],
    [['--host', '192.0.2.1', '--port', '0'], /Cannot listen on port 0 of that host: EADDRNOTAVAIL/],
  ] as const) {
    const { code, out, err } = await web(dburi, ...args).ended
    expect([code, out]).toEqual([2, ''])
    expect(err).toMatch(message)
    expect(err.trim().split('\n')).toHaveLength(1)
  }
})
