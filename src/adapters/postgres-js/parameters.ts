import type { Parameter } from 'postgres'
import { refuseTooMany, spell, UNKNOWN } from '../../postgresql/parameters.ts'

/** A parameter as postgres.js sends it without further ado. */
export type Spelled = string | null | Parameter<string>

/** What postgres.js sends; the protocol could count two more. */
const MOST = 65_533

/** postgres.js's way to send a text as a certain type. */
export type Typed = (value: string, oid: number) => Parameter<string>

/**
 * Spells the parameters of a statement as PostgreSQL's text format has them. postgres.js does so itself only when the
 * statement is already on its way, and a value it cannot spell (undefined, a number for bytea, a symbol) then rejects
 * another statement and stalls the connection.
 * @throws StatementError naming the position
 */
export function spellParameters(params: readonly unknown[], typed: Typed): Spelled[] {
  refuseTooMany(params, MOST)
  return params.map((param, index) => {
    if (param === null || typeof param === 'string') return param
    const { text, oid } = spell(param, index)
    return oid === UNKNOWN ? text : typed(text, oid)
  })
}
