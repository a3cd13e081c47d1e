import { SessionManager } from 'drizzle-celery'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'

const models = { sqlite: {} }

describe('current sessions', () => {
  it('are those of the innermost work on the dburi, in any spelling', async () => {
    await using manager = new SessionManager({ models })
    await manager.session(':memory:', async (_, outer) => {
      await manager.session('libsql://127.0.0.1:1?tls=0', async (_, other) => {
        expect(manager.current('sqlite://')).toBe(outer)
        expect(manager.current('libsql://127.0.0.1:1?tls=0')).toBe(other)
      })
    })
  })

  it('belong to one manager', async () => {
    await using manager = new SessionManager({ models })
    await using other = new SessionManager({ models })
    await manager.session(':memory:', async () => {
      expect(() => other.current(':memory:')).toThrow(expect.objectContaining({ code: 'NO_SESSION' }))
    })
  })

  it('are not joined by a tenant who has another password', async () => {
    await using manager = new SessionManager({ models, propagation: 'join' })
    const dburi = 'libsql://127.0.0.1:1?tls=0'
    const passwordOf = (tenant: string) => () => tenant
    await manager.session(dburi, { password: passwordOf('one') }, async (_, outer) => {
      await manager.session(dburi, { password: passwordOf('two') }, async (_, session) => {
        expect(session).not.toBe(outer)
        expect(manager.current(dburi)).toBe(session)
      })
    })
  })

  it('are joined by whatever differs in nothing but a deadline or a logger', async () => {
    await using manager = new SessionManager({ models, propagation: 'join' })
    const texts: string[] = []
    const logger = { logQuery: (text: string) => void texts.push(text) }
    await manager.session(':memory:', async (_, outer) => {
      await manager.session(':memory:', { statementTimeout: 3, logger }, async (db, session) => {
        expect(session).toBe(outer)
        await db.run(sql`select 1`)
      })
      await outer.db.run(sql`select 2`)
    })

    expect(texts).toEqual(['select 1'])
  })

  it('are refused by a word that is none', async () => {
    await using manager = new SessionManager({ models })
    const wrong = { propagation: 'required' } as object
    await expect(manager.session(':memory:', wrong, async () => {})).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      option: 'propagation',
    })
    expect(() => new SessionManager(wrong)).toThrow('propagation')
  })
})
