/** What the pages show, on every database. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { PyException, PyObject, PyTuple } from '../../src/pickle/index.ts'
import { SessionManager } from '../../src/session/open-manager.ts'
import { describeNeeding, freshMysql, freshPostgres } from '../fixtures/servers.ts'
import { asking, form, formTokenIn, idsIn, inMemory, seenIn, TOKEN } from './serving.ts'

const requestOf = (task: string, worker: string, queue: string) => ({
  ...{ task, args: [1, 'two'], kwargs: { three: 3 }, hostname: worker, retries: 0 },
  deliveryInfo: { routingKey: queue },
})

function showsResults(place: { readonly dburi: string }): void {
  it('lists by filters, page by page, and shows tasks, groups and charts', {
    timeout: 120_000,
  }, async () => {
    await using backend = new DatabaseBackend(place.dburi, { resultExtended: true })
    const ask = asking(backend, { token: TOKEN, pageSize: 4 })
    expect(seenIn((await ask('/')).text)).toContain('No results are stored yet')
    for (let at = 0; at < 10; at++) {
      const request = requestOf(at % 2 ? 'shop.add' : 'mail.send', 'celery@one', at < 5 ? 'fast' : 'slow')
      await backend.storeResult(`a%-${at}`, { sum: at }, 'SUCCESS', { request })
    }
    const request = requestOf('Shop.add', 'celery@two', 'fast')
    await backend.markAsFailure('aX-failed', new TypeError('it did not work'), {
      request,
      traceback:
        'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nTypeError: it did not work',
    })
    await backend.markAsStarted('started', { pid: 7, hostname: 'two' }, { request })
    await backend.saveGroup('saved', ['a%-1', { id: 'inner', children: ['aX-failed', 'never'] }])

    const first = await ask('/')
    expect(first.status).toBe(200)
    expect(idsIn(first.text)).toEqual(['started', 'aX-failed', 'a%-9', 'a%-8'])
    const older = /href="([^"]+)" rel="next"/.exec(first.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const second = await ask(older)
    expect(idsIn(second.text)).toEqual(['a%-7', 'a%-6', 'a%-5', 'a%-4'])
    expect(second.text).toContain('rel="first"')

    const listed = async (query: string) => idsIn((await ask(`/?${query}`)).text)
    expect(await listed('state=FAILURE&state=STARTED')).toEqual(['started', 'aX-failed'])
    expect(await listed('name=Shop.add&sort=done')).toEqual(['aX-failed'])
    expect(await listed('worker=celery%40two&state=')).toEqual(['started', 'aX-failed'])
    expect(await listed('queue=slow&name=shop.add')).toEqual(['a%-9', 'a%-7', 'a%-5'])
    // What SQL would take for more than itself means itself.
    expect(await listed('id=a%25-')).toEqual(['a%-0', 'a%-1', 'a%-2', 'a%-3'])
    expect(await listed('id=a_')).toEqual([])
    expect(await listed('id=A')).toEqual([])
    expect(await listed('since=1h&state=FAILURE')).toEqual(['aX-failed'])
    expect(await listed('until=2020-01-01')).toEqual([])
    const byId = await ask('/?id=a')
    const next = /href="([^"]+)" rel="next"/.exec(byId.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
    expect(idsIn((await ask(next)).text)).toEqual(['a%-4', 'a%-5', 'a%-6', 'a%-7'])

    const task = seenIn((await ask('/task?id=a%25-3')).text)
    expect(task).toMatch(/shop\.add SUCCESS/)
    expect(task).toMatch(/Result dict 1 item sum 3/)
    expect(task).toMatch(/Arguments list 2 items 0 1 1 two Keyword arguments dict 1 item three 3/)
    const failed = await ask('/task?id=aX-failed')
    expect(seenIn(failed.text)).toContain('TypeError : it did not work')
    expect(failed.text).toContain('<b>TypeError: it did not work</b>')
    expect((await ask('/task?id=never')).status).toBe(404)

    const group = seenIn((await ask('/group?id=saved')).text)
    expect(group).toContain('2 of 3 done, 1 of them failed or revoked')
    expect(group).toMatch(/SUCCESS a%-1 group inner FAILURE aX-failed not done never/)
    expect((await ask('/group?id=none')).status).toBe(404)

    await expect
      .poll(async () => seenIn((await ask('/charts?range=1h')).text))
      .toMatch(
        /SUCCESS 10 FAILURE 1 REVOKED 0.*By name.*mail\.send 5 0 0.*celery@one 10 0 0 celery@two 0 1 0/,
      )
    const counted = await backend.countDone({
      since: new Date(Date.now() - 3_600_000),
      until: new Date(Date.now() + 60_000),
      limit: 3,
    })
    expect(counted.isCut).toBe(true)
    expect(counted.counts.reduce((sum, { tasks }) => sum + tasks, 0)).toBe(3)
  })

  it('forgets and cleans up where it may', { tags: 'full' }, async () => {
    await using backend = new DatabaseBackend(place.dburi, { resultExtended: true, resultExpires: 0.001 })
    await backend.storeResult('gone', 1, 'SUCCESS')
    const ask = asking(backend, { token: TOKEN, readOnly: false })
    const page = await ask('/task?id=gone')

    const forgotten = await ask('/forget', form({ id: 'gone', form: formTokenIn(page.text) }))
    expect([forgotten.status, await backend.taskResultExists('gone')]).toEqual([200, false])

    await backend.storeResult('old', 1, 'SUCCESS')
    await new Promise((resolve) => setTimeout(resolve, 20))
    const cleaned = await ask('/cleanup', form({ form: formTokenIn((await ask('/charts')).text) }))
    expect([cleaned.status, await backend.taskResultExists('old')]).toEqual([200, false])
  })
}

describe('on a SQLite file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-web-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  showsResults({ dburi: `file:${join(directory, 'results.db')}` })
})

describe('on PGlite', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-web-'))
  afterAll(() => rmSync(directory, { recursive: true }))
  showsResults({ dburi: `pglite:${join(directory, 'data')}` })
})

describeNeeding('postgresql', 'on PostgreSQL', () => showsResults(freshPostgres()))
describeNeeding('mysql', 'on MySQL', () => showsResults(freshMysql()))

describe('a page', () => {
  it('shows what no longer fits only in part', async () => {
    await using backend = inMemory()
    let deep: unknown = 'the bottom'
    for (let level = 0; level < 100; level++) deep = [deep]
    const many = Array.from({ length: 20_000 }, (_, at) => at)
    await backend.storeResult('deep', deep, 'SUCCESS')
    await backend.storeResult('many', { many, text: 'x'.repeat(500_000) }, 'SUCCESS')
    const traceback = `${'File "x.py"\n'.repeat(50_000)}ValueError: the end`
    await backend.markAsFailure('long', new RangeError('y'.repeat(300_000)), { traceback })
    const ask = asking(backend)

    expect(seenIn((await ask('/task?id=deep')).text)).toContain('deeper than is shown')
    const shown = await ask('/task?id=many')
    expect(seenIn(shown.text)).toMatch(/… 1\d,\d{3} more/)
    expect(shown.text.length).toBeLessThan(400_000)
    const long = await ask('/task?id=long')
    expect(seenIn(long.text)).toContain('ValueError: the end')
    expect(long.text.length).toBeLessThan(600_000)
  })

  it('shows long keys and names of classes only in part', async () => {
    await using backend = inMemory()
    const long = 'x'.repeat(10_000)
    const keyed = Array.from({ length: 300 }, (_, at) => [PyTuple.of(long, at, 10n ** 7_000n), 1] as const)
    const named = new PyObject({ kind: 'new', module: long, name: 'Money' })
    await backend.storeResult('keyed', new Map<unknown, unknown>(keyed), 'SUCCESS')
    await backend.storeResult('named', named, 'SUCCESS')
    const ask = asking(backend)

    for (const [id, seen] of [
      ['keyed', / \(x{150,}…/],
      ['named', / x{150,}…/],
    ] as const) {
      const { text } = await ask(`/task?id=${id}`)
      expect(text.length).toBeLessThan(400_000)
      expect(seenIn(text)).toMatch(seen)
    }
  })

  it('says in the place of a value why it cannot be read, and shows the rest', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dc-web-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const dburi = `file:${join(directory, 'results.db')}`
    await using writing = new DatabaseBackend(dburi, { resultExtended: true })
    await writing.storeResult('t', 'x'.repeat(2_000), 'SUCCESS', { request: { task: 'shop.add' } })
    await using backend = new DatabaseBackend(dburi, { resultExtended: true, pickle: { maxBytes: 1_000 } })
    const { status, text } = await asking(backend)('/task?id=t')

    expect(status).toBe(200)
    expect(seenIn(text)).toMatch(/shop\.add SUCCESS.*Result It cannot be shown: /)
  })

  it('shows values of Python as Python has them', async () => {
    await using backend = inMemory()
    const money = new PyObject({ kind: 'new', module: 'shop', name: 'Money' })
    money.state = { amount: 12n ** 20n }
    const value = [
      PyTuple.of(1, 'a'),
      new Set([2]),
      new Map<unknown, unknown>([[3, null]]),
      new Uint8Array([255]),
      money,
      true,
    ]
    await backend.storeResult('t', value, 'SUCCESS')
    const seen = seenIn((await asking(backend)('/task?id=t')).text)

    expect(seen).toMatch(
      /0 tuple 2 items.*1 set 1 item.*2 dict 1 item 3 None 3 bytes 1 ff 4 shop\.Money 1 item/,
    )
    expect(seen).toContain('True')
    await backend.markAsFailure('failed', new PyException('builtins', 'KeyError', [null, 3]))
    const failed = seenIn((await asking(backend)('/task?id=failed')).text)
    expect(failed).toMatch(/Result KeyError tuple 2 items 0 None 1 3/)
  })

  it('and all that it loads are less than 100 kB', async () => {
    await using backend = inMemory()
    const results = Array.from({ length: 60 }, (_, at) => ({
      ...{ taskId: `0b7e1a52-4a4e-4cbb-9e53-7a5b1c2d3e${at + 10}`, result: at },
      request: requestOf('shop.orders.tasks.import_everything', 'celery@worker-7.example.com', 'celery'),
    }))
    await backend.storeMany(results)
    const ask = asking(backend)
    const page = await ask('/')
    const assets = [...page.text.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, path = '']) => path)
    const texts = await Promise.all(assets.map((path) => ask(path)))
    const sizes = [page, ...texts].map(({ text }) => Buffer.byteLength(text))

    expect(texts.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(texts[0]?.headers.get('cache-control')).toContain('immutable')
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(100_000)
  })

  it('has states to choose from before they are counted, and the last counts where that takes long', async () => {
    await using backend = inMemory()
    await backend.storeResult('t', 1, 'CUSTOM')
    const recentCounts = vi.spyOn(backend, 'recentCounts')
    const ask = asking(backend)
    const strip = async (query = '') => {
      const { text } = await ask(`/${query}`)
      return seenIn(/<nav class="counts".*?<\/nav>/s.exec(text)?.[0] ?? '').trim()
    }
    const never = () => new Promise<never>(() => {})

    recentCounts.mockImplementation(never)
    expect(await strip('?state=OTHER')).toBe('SUCCESS FAILURE STARTED RETRY REVOKED OTHER being counted')
    const counted = { counts: { CUSTOM: 1 }, countedAt: new Date() }
    recentCounts.mockImplementation(async () => counted)
    expect(await strip('?state=OTHER')).toMatch(/^CUSTOM 1 OTHER 0 counted/)
    recentCounts.mockImplementation(never)
    expect(await strip()).toMatch(/^CUSTOM 1 counted/)
    recentCounts.mockRejectedValue(new Error('no'))
    expect(await strip()).toMatch(/^CUSTOM 1 counted/)
  })

  it('lists what was done in a time in the order in which it was', async () => {
    await using backend = inMemory()
    await backend.markAsStarted('slow')
    await backend.storeResult('quick', 1, 'SUCCESS')
    await backend.markAsStarted('running')
    await backend.markAsDone('slow', 2)
    const ask = asking(backend)

    expect(idsIn((await ask('/')).text)).toEqual(['running', 'quick', 'slow'])
    for (const query of ['since=1h', 'until=2999-01-01', 'since=1h&sort=stored']) {
      const { text } = await ask(`/?${query}`)
      expect(idsIn(text)).toEqual(['slow', 'quick'])
      expect(text).toContain('<option value="done" selected>')
    }
  })

  it('ends a list by several filters after a while, and goes on from there', { tags: 'full' }, async () => {
    await using manager = new SessionManager()
    const engine = await manager.getEngine('file::memory:')
    await manager.prepareModels(engine)
    const run = (sql: string) => engine.run({ sql, params: [], asArrays: false })
    await run('create index by_name on celery_taskmeta (name, id)')
    await run('create index by_queue on celery_taskmeta (queue, id)')
    await run(
      'with recursive s (n) as (select 1 union all select n + 1 from s where n < 16000) ' +
        'insert into celery_taskmeta (id, task_id, status, name, queue) ' +
        "select n, n, 'SUCCESS', iif(n <= 8000, 'old', 'new'), iif(n in (3, 7) or n > 8000, 'q2', 'q1') from s",
    )
    await using backend = new DatabaseBackend('file::memory:', { manager, resultExtended: true })
    const ask = asking(backend)
    const list = backend.list.bind(backend)
    vi.spyOn(backend, 'list').mockImplementation(async (options) => {
      await new Promise((resolve) => setTimeout(resolve, 60))
      return list(options)
    })
    const pages: string[][] = []
    for (let next: string | undefined = '/?name=old&queue=q2'; next !== undefined; ) {
      const { text } = await ask(next)
      next = /href="([^"]+)" rel="next"/.exec(text)?.[1]?.replaceAll('&amp;', '&')
      expect(seenIn(text).includes('there may be more')).toBe(next !== undefined)
      pages.push(idsIn(text))
    }
    expect(pages.length).toBeGreaterThan(2)
    expect(pages.flat()).toEqual(['7', '3'])
  })

  it('names a filter that cannot be read', async () => {
    await using backend = inMemory()
    const ask = asking(backend)
    for (const [query, name] of [
      ['since=yesterday', 'since'],
      ['until=2026-13-45', 'until'],
      ['until=2026-02-31', 'until'],
      [`name=${'x'.repeat(200)}`, 'name'],
      ['name=%00', 'name'],
      ['sort=size', 'sort'],
      ['cursor=nonsense', 'cursor'],
      ['cursor=WyJpZCIsMWU5OV0', 'cursor'],
      ['sort=done&cursor=WyJpZCIsMSxudWxsXQ', 'cursor'],
    ]) {
      const { status, text } = await ask(`/?${query}`)
      expect([status, seenIn(text)]).toEqual([400, expect.stringContaining(name ?? '')])
    }
    expect((await ask('/charts?range=1y')).status).toBe(400)
  })

  it('stands under the path where it is mounted, all links with it', async () => {
    await using backend = inMemory()
    await backend.storeResult('t', 1, 'SUCCESS')
    const ask = asking(backend, { token: TOKEN, basePath: '/admin/results/' })

    for (const path of [
      '/admin/results',
      '/admin/results/',
      '/admin/results/task?id=t',
      '/admin/results/charts',
    ]) {
      const { status, text } = await ask(path)
      expect(status).toBe(200)
      const links = [...text.matchAll(/(?:href|src|action)="([^"]*)"/g)].map(([, link = '']) => link)
      expect(links.filter((link) => link !== '#main' && !link.startsWith('/admin/results'))).toEqual([])
    }
    for (const path of ['/', '/admin', '/admin/resultsx', '/task?id=t'])
      expect((await ask(path)).status).toBe(404)
  })
})
