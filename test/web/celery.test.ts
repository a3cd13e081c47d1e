/** The page on what real Celery stored: a file that a worker of it wrote, and rows of its backend while the page looks. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { CeleryPeer } from '../fixtures/celery/peer.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'
import { asking, idsIn, seenIn } from './serving.ts'

const id = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`

it('shows the results that a worker wrote to SQLite, a failure with its traceback, and its group', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dc-web-celery-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'results.sqlite')
  copyFileSync(new URL('../fixtures/celery/results.sqlite', import.meta.url), file)
  await using backend = new DatabaseBackend(`db+sqlite:///${file}`, { resultExtended: true })
  const ask = asking(backend)

  expect(idsIn((await ask('/?name=shop.add')).text)).toEqual([id(12), id(11), id(10), id(1)])
  expect(idsIn((await ask(`/?id=${id(1).slice(0, 35)}`)).text)).toEqual([1, 2, 3, 4].map(id))
  expect(seenIn((await ask(`/task?id=${id(2)}`)).text)).toMatch(
    /shop\.invoice SUCCESS .*Worker worker@shop .*Result dict/,
  )
  const failed = seenIn((await ask(`/task?id=${id(4)}`)).text)
  expect(failed).toMatch(/shop\.charge FAILURE.*Traceback Traceback \(most recent call last\): File "/)
  expect(seenIn((await ask(`/group?id=${id(100)}`)).text)).toContain('3 of 3 done')
})

describeNeeding(['python celery', 'postgresql'], 'beside Celery on PostgreSQL', () => {
  const database = freshPostgres()

  it('shows what it stores', async () => {
    const peer = new CeleryPeer()
    onTestFinished(() => peer[Symbol.dispose]())
    await peer.ready()
    await peer.prepare(database.dburi)
    await peer.store(database.dburi, 'by-celery', { total: [1, 2, null], text: '<b>&' })
    await using backend = new DatabaseBackend(database.dburi, { resultExtended: true })
    const ask = asking(backend)

    expect(idsIn((await ask('/?id=by-')).text)).toEqual(['by-celery'])
    const { text } = await ask('/task?id=by-celery')
    expect(seenIn(text)).toMatch(/SUCCESS.*Result dict 2 items total list 3 items 0 1 1 2 2 None text <b>&/)
    expect(text).not.toContain('<b>&')
  })
})
