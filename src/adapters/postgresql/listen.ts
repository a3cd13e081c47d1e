import type { NotificationHandler, Subscription } from '../../driver/types.ts'
import { ClosedError } from '../../errors.ts'
import type { PostgresConnection } from './connection.ts'

/** What a driver calls for whatever is sent to a channel its connection listens to. */
export type OnNotify = (channel: string, text: string) => void

type Connect = (onNotify: OnNotify, signal: AbortSignal | undefined) => Promise<PostgresConnection>

/** Connections that listen, each to one channel. They belong to no pool, and are closed when the database is released. */
export class Listeners {
  readonly #connect: Connect
  readonly #open = new Set<PostgresConnection>()
  #isReleased = false

  constructor(connect: Connect) {
    this.#connect = connect
  }

  async listen(
    channel: string,
    { onMessage, onLost }: NotificationHandler,
    signal?: AbortSignal,
  ): Promise<Subscription | null> {
    const connection = await this.#connect((_, text) => onMessage(text), signal)
    this.#open.add(connection)
    const close = () => {
      this.#open.delete(connection)
      return connection.close()
    }
    try {
      if (this.#isReleased) throw new ClosedError('engine')
      if (!(await isDirect(connection))) {
        await close()
        return null
      }
      await connection.listen(channel)
    } catch (error) {
      await close()
      throw error
    }

    connection.onLost = () => {
      this.#open.delete(connection)
      onLost()
    }
    // It may have been lost while nobody was there to be told.
    if (connection.lost !== null) connection.onLost()
    return { close }
  }

  async release(): Promise<void> {
    this.#isReleased = true
    await Promise.all(
      [...this.#open].map(async (connection) => {
        await connection.close()
        // Nobody is told of the loss of a connection that was closed.
        connection.onLost?.()
      }),
    )
  }
}

/**
 * Whether no pooler stands in between: it gives its clients process ids that are its own. One that changes servers between
 * transactions would take the LISTEN and hand nothing on.
 */
async function isDirect(connection: PostgresConnection): Promise<boolean> {
  const rows = await connection.run({
    sql: 'select pg_catalog.pg_backend_pid()',
    params: [],
    asArrays: true,
  })
  const pid: unknown = Array.isArray(rows) ? rows[0]?.[0] : undefined
  return pid === connection.pid
}
