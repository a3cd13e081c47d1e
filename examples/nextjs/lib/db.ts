import { SessionManager } from 'drizzle-celery'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

export const note = sqliteTable('note', { id: integer().primaryKey(), body: text().notNull() })
export const dburi = 'file:notes.db'

// Hot reloads evaluate this module again; one manager serves the whole process.
const kept = globalThis as typeof globalThis & { manager?: ReturnType<typeof makeManager> }
kept.manager ??= makeManager()
export const manager = kept.manager

function makeManager() {
  return new SessionManager({ models: { sqlite: { note } } })
}
