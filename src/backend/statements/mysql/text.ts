import { READY } from '../statements.ts'

/**
 * What a clock shows that is some seconds ahead of UTC, by the server's own, whatever zone its session is in: NULL for NULL.
 */
export const NOW = '(utc_timestamp(6) + interval ? second)'

/** Names the row whose id this is, by the index and then byte for byte; takes the id twice. */
export function isExactly(column: string): string {
  return `${column} = ? and ${bytesOf(column)} = ${bytesOf('?')}`
}

/**
 * Names the rows with these ids, and such as look the same to the column's collation; takes what `padded` makes of them.
 */
export function isAmong(ids: readonly string[]): string {
  return `t.task_id in (${padded(ids)
    .map(() => '?')
    .join(', ')})`
}

/** As many ids as a power of two, the last of them more than once: so few texts are prepared, however many are asked for. */
export function padded(ids: readonly string[]): string[] {
  const size = 2 ** Math.ceil(Math.log2(Math.max(ids.length, 1)))
  return [...ids, ...Array<string>(size - ids.length).fill(ids.at(-1) ?? '')]
}

/** The row is in none of the ready states. */
export function isOpen(status: string): string {
  return `(${status} is null or ${bytesOf(status)} not in ${READY})`
}

/** A text as it is compared where collations may not have their say, in UTF-8 whatever its column is in. */
export function bytesOf(text: string): string {
  return `cast(convert(${text} using utf8mb4) as binary)`
}

export function nextOf(schema: string | undefined, sequence: string): string {
  return `nextval(${qualified(schema, sequence)})`
}

export function qualified(schema: string | undefined, name: string): string {
  return schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
}

function quoted(identifier: string): string {
  return `\`${identifier.replaceAll('`', '``')}\``
}
