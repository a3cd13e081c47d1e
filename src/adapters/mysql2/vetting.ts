import type { TargetSessionAttrs } from '../../driver/endpoints.ts'
import { addressOf } from '../../driver/socket.ts'
import { ConnectError, type ServerTarget, textOf } from '../../errors.ts'
import type { MysqlConnection } from './connection.ts'
import { isServerError } from './errors.ts'

interface Wanted {
  readonly wanted: TargetSessionAttrs
  /** Others can serve where this one cannot. */
  readonly isOneOfSeveral: boolean
}

/**
 * Asks a server whether it serves, and as what is wanted; `null` where any will do and there is no other. A Galera node
 * without quorum lets clients in and even sets their variables; a server that was demoted goes on answering.
 * @throws ConnectError `NO_SUITABLE_HOST`, from what it returns
 */
export function vetting(
  endpoint: ServerTarget,
  { wanted, isOneOfSeveral }: Wanted,
): ((connection: MysqlConnection) => Promise<void>) | null {
  if (wanted === 'any' && !isOneOfSeveral) return null

  return async (connection) => {
    const variables = await read(connection, VARIABLES)
    if (isOn(variables.get('wsrep_on')) && !isOn((await read(connection, READY)).get('wsrep_ready')))
      throw unsuitable(endpoint, 'it is no part of its Galera cluster at the moment (wsrep_ready)')

    if (wanted === 'any' || wanted === 'prefer-standby') return
    const isReadOnly = isOn(variables.get('read_only')) || isOn(variables.get('innodb_read_only'))
    if (isReadOnly !== (wanted === 'standby' || wanted === 'read-only'))
      throw unsuitable(endpoint, `it is not what target_session_attrs=${wanted} asks for`)
  }
}

/** SHOW leaves out what a server does not know, where `select @@…` would fail. */
const VARIABLES = "show global variables where variable_name in ('read_only', 'innodb_read_only', 'wsrep_on')"
const READY = "show status like 'wsrep_ready'"

async function read(connection: MysqlConnection, sql: string): Promise<Map<string, string>> {
  const rows = await connection.run({ sql, params: [], asArrays: false }).catch((error: unknown) => {
    // A proxy may not know the statement: that says nothing about the server.
    if (!isServerError(error)) throw error
  })
  if (!Array.isArray(rows)) return new Map()
  return new Map(
    rows.map((row: unknown) => [
      textOf(row, 'Variable_name')?.toLowerCase() ?? '',
      textOf(row, 'Value') ?? '',
    ]),
  )
}

/** MariaDB 12 has more words for being read-only than ON. */
function isOn(value: string | undefined): boolean {
  return value !== undefined && !/^(?:off|0|)$/i.test(value)
}

function unsuitable(endpoint: ServerTarget, why: string): ConnectError {
  return new ConnectError('NO_SUITABLE_HOST', endpoint, `Cannot use MySQL at ${addressOf(endpoint)}: ${why}`)
}
