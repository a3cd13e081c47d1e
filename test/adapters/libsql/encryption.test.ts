import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import { ConnectError, causes, SessionManager, StorageError, TransactionConflictError } from 'drizzle-celery'
import { eq } from 'drizzle-orm'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { expectNoSecret } from '../../fixtures/standard-check.ts'

/** libSQL files that are encrypted with the `encryptionKey` of their dburi. */

const KEY = 'canary key/+ü&%'
const WRONG = 'canary-wrong'
const WORD = 'written-in-the-clear'

let directory: string
let path: string
let manager: SessionManager

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drizzle-celery-encryption-'))
  path = join(directory, 'x.db')
  manager = new SessionManager()
})

afterEach(async () => {
  await manager.dispose({ grace: 0 })
  rmSync(directory, { recursive: true, force: true })
})

function withKey(key: string | null, more = ''): `file:${string}` {
  const given = key === null ? '' : `encryptionKey=${encodeURIComponent(key)}`
  return `file:${path}?${[given, more].filter((each) => each !== '').join('&')}`
}

const write = (dburi: `file:${string}`, taskId: string) =>
  manager.session(dburi, async (db, { models }) => {
    await db.insert(models.task).values({ taskId, status: 'SUCCESS', traceback: WORD })
  })

const read = (dburi: `file:${string}`) =>
  manager.session(dburi, async (db, { models }) => {
    const rows = await db.select().from(models.task).where(eq(models.task.traceback, WORD))
    return rows.map(({ taskId }) => taskId)
  })

/** Nobody has the file open any more. */
async function closeAll(): Promise<void> {
  await manager.dispose()
  manager = new SessionManager()
}

async function refusal(work: Promise<unknown>): Promise<unknown> {
  const error = await work.then(
    (value) => new Error(`It did not fail: ${value}`),
    (reason: unknown) => reason,
  )
  expectNoSecret([KEY, WRONG], error, manager, manager.stats())
  const found = causes(error).find((cause) => cause instanceof ConnectError || cause instanceof StorageError)
  if (found === undefined) throw error
  return found
}

/** All bytes that were written beside one another, journals too. */
function everythingWritten(): string {
  return readdirSync(directory)
    .map((name) => readFileSync(join(directory, name), 'latin1'))
    .join('')
}

describe.each(['delete', 'wal'])('an encrypted file, journal_mode=%s', (mode) => {
  const journal = `journal_mode=${mode}`

  it('is read with its key, and by nobody else', async () => {
    await write(withKey(KEY, journal), 'a')
    expect(everythingWritten()).not.toContain(WORD)
    expect(everythingWritten()).not.toContain('SQLite format')
    await closeAll()
    const before = readFileSync(path)

    for (const wrong of [null, WRONG, `${KEY} `]) {
      for (const more of ['', journal, 'mode=ro', 'mode=rw']) {
        const error = await refusal(read(withKey(wrong, more)))
        expect(String(error)).toContain(path)
        expect(String(error)).toContain('encrypted with another key')
        expect(error).toHaveProperty('code', expect.stringMatching(/^(?:FILE_UNUSABLE|STORAGE_CORRUPT)$/))
      }
    }
    await closeAll()

    expect(readFileSync(path).equals(before)).toBe(true)
    expect(await read(withKey(KEY))).toEqual(['a'])
    expect(await read(withKey(KEY, 'mode=ro'))).toEqual(['a'])
  })

  it('is written by several engines, and after others had it locked', async () => {
    await write(withKey(KEY, journal), 'a')
    const other = createClient({ url: `file:${path}`, encryptionKey: KEY })
    const lock = await other.transaction('write')
    const waiting = await Promise.all(
      ['timeout=0.1', 'timeout=0.2'].map((timeout) =>
        write(withKey(KEY, timeout), 'never').then(null, (reason: unknown) => reason),
      ),
    )
    await lock.rollback()
    for (const timeout of ['timeout=0.1', 'timeout=0.2']) await write(withKey(KEY, timeout), timeout)

    for (const error of waiting)
      expect(causes(error).some((cause) => cause instanceof TransactionConflictError)).toBe(true)
    expect((await read(withKey(KEY))).sort()).toEqual(['a', 'timeout=0.1', 'timeout=0.2'])
    const { rows } = await other.execute('pragma integrity_check')
    expect(rows[0]?.[0]).toBe('ok')
    other.close()
    expect(everythingWritten()).not.toContain(WORD)
  })
})

describe('a key', () => {
  it('does not open a file that is not encrypted, nor harm it', async () => {
    await write(withKey(null), 'a')
    await closeAll()
    const before = readFileSync(path)

    expect(String(await refusal(write(withKey(KEY), 'b')))).toContain('encrypted with another key')

    expect(readFileSync(path).equals(before)).toBe(true)
    expect(await read(withKey(null))).toEqual(['a'])
  })

  it('may be spelled encryption_key, and belongs to what the engine is known by', async () => {
    await write(withKey(KEY), 'a')
    const spelled = withKey(KEY).replace('encryptionKey', 'encryption_key') as `file:${string}`

    expect(await read(spelled)).toEqual(['a'])
    await refusal(read(withKey(WRONG)))
    await refusal(read(withKey(null)))
    expect(await read(withKey(KEY))).toEqual(['a'])
  })

  it('is shown by nothing', async () => {
    const engine = await manager.getEngine(withKey(KEY))
    const session = await manager.sessionFactory(withKey(KEY))
    await session.db.insert(session.models.task).values({ taskId: 'a' })
    const failed: unknown = await session.db
      .insert(session.models.task)
      .values({ taskId: 'a' })
      .then(null, (reason: unknown) => reason)

    expect(failed).toBeInstanceOf(Error)
    expectNoSecret(
      [KEY],
      engine,
      engine.stats(),
      engine.db,
      session,
      session.db,
      manager,
      manager.stats(),
      failed,
    )
    await session.close()
  })

  it.each([':memory:?encryptionKey=', 'libsql://localhost?encryptionKey=', 'wss://localhost?encryptionKey='])(
    'is refused where there is no file: %s…',
    async (dburi) => {
      const error: unknown = await manager
        .getEngine(dburi + encodeURIComponent(KEY))
        .then(null, (reason) => reason)

      expect(error).toMatchObject({ code: 'REFUSED_OPTION', option: 'encryptionKey' })
      expectNoSecret([KEY], error)
    },
  )
})
