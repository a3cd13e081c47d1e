import { Global, Injectable, Module, type OnApplicationShutdown } from '@nestjs/common'
import { type SessionFor, SessionManager } from 'drizzle-celery'
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'

export const note = sqliteTable('note', { id: integer().primaryKey(), body: text().notNull() })

const DBURI = 'file:notes.db'
const manager = new SessionManager({ models: { sqlite: { note } } })
type Handle = SessionFor<typeof DBURI, { sqlite: { note: typeof note } }>['db']

/** The database of this service, closed when the service stops. */
@Injectable()
export class Database implements OnApplicationShutdown {
  read<Result>(work: (db: Handle) => Promise<Result>): Promise<Result> {
    return manager.session(DBURI, { readOnly: true }, work)
  }

  /** Kept when `work` resolves, undone when it rejects. */
  write<Result>(work: (db: Handle) => Promise<Result>): Promise<Result> {
    return manager.session(DBURI, work)
  }

  onApplicationShutdown() {
    return manager.dispose()
  }
}

@Global()
@Module({ providers: [Database], exports: [Database] })
export class DatabaseModule {}
