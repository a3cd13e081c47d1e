import { SessionManager } from 'drizzle-celery'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

/** A queue in a table: any number of processes add to it, and any number of workers take from it. */
export const job = sqliteTable('job', { id: integer().primaryKey(), text: text().notNull() })
export const dburi = 'file:jobs.db'
export const manager = new SessionManager({ models: { sqlite: { job } } })
