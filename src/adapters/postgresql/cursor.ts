import type { Statement } from '../../driver/statement.ts'
import type { Cursor } from '../../driver/types.ts'

/** A statement for PostgreSQL. */
export interface PostgresStatement extends Statement {
  /** The text whose rows these are, where it is not the statement's own: that of a cursor that is fetched from. */
  readonly cursorOf?: string
}

/**
 * Declares a cursor in the open transaction, with which it ends. The server makes rows as they are fetched.
 * @param name a word that no other cursor of the transaction has
 */
export async function declareCursor(
  name: string,
  { sql, params, asArrays }: Statement,
  batch: number,
  run: (statement: PostgresStatement) => Promise<unknown>,
): Promise<Cursor> {
  await run({ sql: `declare ${name} no scroll cursor for ${sql}`, params, asArrays })
  const fetch = { sql: `fetch forward ${batch} from ${name}`, params: [], asArrays, cursorOf: sql }
  const close = { sql: `close ${name}`, params: [], asArrays }
  let isOpen = true

  return {
    async fetch() {
      try {
        const rows = await run(fetch)
        return Array.isArray(rows) ? rows : []
      } catch (error) {
        // Its transaction has failed, and refuses to close it.
        isOpen = false
        throw error
      }
    },
    async close() {
      if (!isOpen) return
      isOpen = false
      // Where the transaction has failed meanwhile, the cursor ends with it.
      await run(close).catch(() => {})
    },
  }
}
