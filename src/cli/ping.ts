import { rowsOf } from '../backend/statements/types.ts'
import { visible } from '../backend/visible.ts'
import type { Dialect } from '../dburi/types.ts'
import type { Engine } from '../engine/engine.ts'
import { resultModelsOf } from '../models/by-dialect.ts'
import { type Call, type Command, EXIT } from './command.ts'
import { prepareTables, withEngine } from './connect.ts'

/** `ping`: whether a database can be reached, which one it is, and how far away. */
export const ping: Command = {
  summary: 'reach the database: server, version, TLS, latency, result tables',
  operands: '',
  count: [0, 0],
  options: {},
  async run(call) {
    const started = performance.now()
    return withEngine(call, async (engine) => {
      const facts = await serverFacts(engine)
      const connected = performance.now() - started
      const pooler = await poolerBefore(engine, call.signal)
      if (pooler !== null) facts.set('pooler', pooler)
      const latency = await latencyOf(engine)
      const tables = await tablesOf(engine)
      show(call, { engine, facts, connected, latency, tables })
      return EXIT.done
    })
  },
}

interface Found {
  readonly engine: Engine
  readonly facts: ReadonlyMap<string, string>
  /** Milliseconds. */
  readonly connected: number
  readonly latency: number
  readonly tables: { readonly present: readonly string[]; readonly missing: readonly string[] }
}

function show({ output }: Call, { engine, facts, connected, latency, tables }: Found): void {
  const { dburi, dialect } = engine.stats()
  const { present, missing } = tables
  if (output.isJson) {
    const milliseconds = { connected: round(connected), latency: round(latency) }
    output.json({
      dburi,
      dialect,
      ...Object.fromEntries(facts),
      ...milliseconds,
      tables: { present, missing },
    })
    return
  }
  output.fields([
    ['dburi', dburi],
    ...[...facts].map(
      ([name, value]) => [name, name === 'tls' ? tlsText(output, value) : visible(value)] as const,
    ),
    ['connected', `in ${round(connected)} ms`],
    ['latency', `${round(latency)} ms a statement`],
    ['tables', present.length === 0 ? 'none of Celery' : present.join(', ')],
    ['missing', missing.length > 0 && present.length > 0 ? missing.join(', ') : null],
  ])
}

function tlsText(output: Call['output'], tls: string): string {
  return output.styled(tls === 'no' ? 'yellow' : 'green', visible(tls))
}

/** One row each, with the columns that are shown. */
const SERVER: Readonly<Record<Dialect, readonly string[]>> = {
  postgresql: [
    "select current_setting('server_version') as version, current_database() as database, current_user as user",
    `select coalesce(version || ', ' || cipher, 'no') as tls from pg_stat_ssl where pid = pg_backend_pid()`,
    'select inet_server_port()::text as port, pg_is_in_recovery()::text as standby',
  ],
  mysql: [
    'select version() as version, database() as `database`, current_user() as user',
    "show session status like 'Ssl_cipher'",
  ],
  sqlite: ['select sqlite_version() as version'],
}

async function serverFacts(engine: Engine): Promise<Map<string, string>> {
  const facts = new Map<string, string>([['server', engine.dialect]])
  for (const sql of SERVER[engine.dialect]) {
    // A server that only speaks the protocol may lack one of these views.
    const answer = await engine.run({ sql, params: [], asArrays: false }).catch((error: unknown) => {
      if (facts.size === 1) throw error
      return []
    })
    for (const [name, value] of Object.entries(rowsOf(answer)[0] ?? {})) {
      if (name === 'Variable_name' || value === null) continue
      if (name === 'Value') facts.set('tls', value === '' ? 'no' : String(value))
      else if (name !== 'standby' || value === 'true') facts.set(name, String(value))
    }
  }
  const version = facts.get('version') ?? ''
  if (/mariadb/i.test(version)) facts.set('server', 'mariadb')
  return facts
}

/** Whether a pooler stands between, by whether a connection can listen; `null` where nothing tells, on a standby for example. */
async function poolerBefore({ listen }: Engine, signal: AbortSignal): Promise<string | null> {
  if (listen === undefined) return null
  try {
    const subscription = await listen('drizzle_celery_ping', { onMessage() {}, onLost() {} }, signal)
    await subscription?.close()
    return subscription === null ? 'yes' : 'no'
  } catch {
    // The connection that all else uses works: that this one does not is nothing to fail for.
    return null
  }
}

/** The middle one of five. */
async function latencyOf(engine: Engine): Promise<number> {
  const times: number[] = []
  for (let count = 0; count < 5; count++) {
    const started = performance.now()
    await engine.run({ sql: 'select 1', params: [], asArrays: false })
    times.push(performance.now() - started)
  }
  return times.sort((one, other) => one - other)[2] ?? 0
}

async function tablesOf(engine: Engine) {
  const models = await resultModelsOf(engine.dialect)
  return prepareTables(engine, models, { prepare: 'check' })
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100
}
