import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { visible } from '../backend/visible.ts'
import { parseDburi } from '../dburi/parse.ts'
import type { Dialect } from '../dburi/types.ts'
import { resultModelsOf } from '../models/by-dialect.ts'
import { inWords, type PreparedModels } from '../schema/diff.ts'
import { type Call, type Command, EXIT, type ExitCode, type OptionHelp, UsageError } from './command.ts'
import { prepareTables, withEngine } from './connect.ts'

const SCHEMA: Readonly<Record<string, OptionHelp>> = {
  schema: {
    type: 'string',
    value: 'FILE',
    help: "a module that exports Drizzle tables, instead of Celery's",
  },
  dashboard: { type: 'boolean', help: 'with the indexes by which lists of millions of tasks are quick' },
}

/** `check`: whether the tables are as the models have them. Nothing is changed. */
export const check: Command = {
  summary: 'compare the tables with the models; exit 1 if anything is missing or different',
  operands: '',
  count: [0, 0],
  options: SCHEMA,
  run: (call) =>
    withEngine(call, async (engine) => {
      const report = await prepareTables(engine, await modelsFor(call, engine.dialect), {
        prepare: 'check',
      })
      show(call, report)
      return report.missing.length + report.differences.length > 0 ? EXIT.no : EXIT.done
    }),
}

/** `prepare`: creates what is missing, and never changes or drops what is there. */
export const prepare: Command = {
  summary: 'create the tables that are missing; nothing that is there is changed',
  operands: '',
  count: [0, 0],
  options: {
    ...SCHEMA,
    upgrade: { type: 'boolean', help: 'also add missing columns and indexes' },
    widen: { type: 'boolean', help: 'with --upgrade on MySQL: make columns as wide as the models have them' },
  },
  run: (call) =>
    withEngine(
      call,
      async (engine) => {
        const { flags, signal } = call
        const report = await prepareTables(engine, await modelsFor(call, engine.dialect), {
          ...{ prepare: flags.has('upgrade') ? 'upgrade' : 'create', widen: flags.has('widen'), signal },
        })
        show(call, report)
        return EXIT.done
      },
      true,
    ),
}

/** `ddl`: the statements for an empty database. No connection is made. */
export const ddl: Command = {
  summary: 'print the statements that create the tables; connects to nothing',
  operands: '',
  count: [0, 0],
  options: SCHEMA,
  async run(call): Promise<ExitCode> {
    // It loads every dialect.
    const { ddl: statementsOf } = await import('../schema/ddl.ts')
    const { dialect, flavor } = parseDburi(call.dburi)
    const options = flavor === 'mariadb' ? { flavor } : {}
    for (const statement of statementsOf(await modelsFor(call, dialect), dialect, options)) {
      if (call.output.isJson) call.output.json({ statement })
      else call.output.line(`${statement};`)
    }
    return EXIT.done
  },
}

function show({ output }: Call, report: PreparedModels): void {
  const { created, added, widened, present, missing, differences } = report
  if (output.isJson) {
    output.json(report)
    return
  }
  const rows = [
    ...present.map((what) => ['present', what, 'green'] as const),
    ...created.map((what) => ['created', what, 'green'] as const),
    ...added.map((what) => ['added', what, 'green'] as const),
    ...widened.map((what) => ['widened', what, 'green'] as const),
    ...missing.map((what) => ['missing', what, 'red'] as const),
    ...differences.map((difference) => ['differs', inWords(difference), 'yellow'] as const),
  ]
  for (const [verb, what, style] of rows) {
    output.line(`${output.styled(style, verb.padEnd(8))} ${visible(what)}`)
  }
  if (missing.length > 0) output.line('To create what is missing: drizzle-celery prepare DBURI')
  if (differences.length > 0)
    output.line('To add missing columns and indexes: drizzle-celery prepare DBURI --upgrade')
}

/** @throws UsageError when the module cannot be loaded, or has no tables */
async function modelsFor({ flags }: Call, dialect: Dialect): Promise<Readonly<Record<string, unknown>>> {
  const file = flags.text('schema')
  if (file === undefined)
    return resultModelsOf(dialect, flags.has('dashboard') ? { indexes: 'dashboard' } : {})
  const path = resolve(file)
  try {
    const models: Record<string, unknown> = { ...(await import(pathToFileURL(path).href)) }
    if (Object.keys(models).length > 0) return models
  } catch (cause) {
    throw new UsageError(`Cannot load ${file}: ${reasonFor(file, cause)}`, { cause })
  }
  throw new UsageError(`Cannot use ${file}: it exports nothing. Export the Drizzle tables from it`)
}

function reasonFor(file: string, cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  const isTypeScript = /\.[cm]?ts$/.test(file)
  const isUnloadable = isTypeScript && Reflect.get(Object(cause), 'code') === 'ERR_UNKNOWN_FILE_EXTENSION'
  if (!isUnloadable) return message
  return (
    `Node ${process.versions.node} loads no TypeScript by itself, Node 22.18 or later does. ` +
    'Else: npm install tsx, then NODE_OPTIONS="--import tsx" npx drizzle-celery …'
  )
}
