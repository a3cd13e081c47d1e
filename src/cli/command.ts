import type { ParseArgsConfig } from 'node:util'
import { momentIn, secondsIn } from '../backend/durations.ts'
import type { Output } from './output.ts'

/** A word of the command line, and what it does. */
export interface Command {
  readonly summary: string
  /** What stands behind the dburi. */
  readonly operands: string
  /** How many operands there must be, and may be. */
  readonly count: readonly [least: number, most: number]
  /** Its own options, as `parseArgs` of node:util takes them, with a word for the help. */
  readonly options: Readonly<Record<string, OptionHelp>>
  run(call: Call): Promise<ExitCode>
}

export interface OptionHelp {
  readonly type: 'string' | 'boolean'
  readonly multiple?: boolean
  /** What stands for the value in the help: `SECONDS`. */
  readonly value?: string
  readonly help: string
}

/** A command line that was understood. */
export interface Call {
  readonly dburi: string
  readonly operands: readonly string[]
  readonly flags: Flags
  readonly output: Output
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** The options that were given. */
export class Flags {
  readonly #values: Readonly<Record<string, unknown>>

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values
  }

  has(name: string): boolean {
    return this.#values[name] === true
  }

  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? value.map(String) : []
  }

  /** @throws UsageError */
  count(name: string, otherwise: number, most: number): number {
    const text = this.text(name)
    if (text === undefined) return otherwise
    const count = /^\d{1,9}$/.test(text) ? Number(text) : 0
    if (count < 1 || count > most) throw new UsageError(`--${name} takes a whole number from 1 to ${most}`)
    return count
  }

  /** Seconds. @throws UsageError */
  seconds(name: string): number | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const seconds = secondsIn(text)
    if (seconds === undefined) throw new UsageError(`--${name} takes a time such as 45s, 30m, 12h, 7d or 2w`)
    return seconds
  }

  /** A time ago, or a date. @throws UsageError */
  moment(name: string): Date | undefined {
    const text = this.text(name)
    if (text === undefined) return undefined
    const date = momentIn(text)
    if (date !== undefined) return date
    throw new UsageError(
      `--${name} takes a time ago, such as 12h or 7d, or a date, such as 2026-11-29 or '2026-11-29 08:30', in UTC`,
    )
  }
}

/** Documented in docs/command.md: programs branch on them. */
export const EXIT = { done: 0, no: 1, usage: 2, failed: 3, interrupted: 130 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** The command line is wrong; the message says what to type. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The options of a command for `parseArgs`. */
export function parseOptions(command: Command): NonNullable<ParseArgsConfig['options']> {
  const all = { ...COMMON_OPTIONS, ...command.options }
  return Object.fromEntries(
    Object.entries(all).map(([name, { type, multiple = false }]) => [name, { type, multiple }]),
  )
}

/** Of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, OptionHelp>> = {
  json: { type: 'boolean', help: 'one JSON object a line, for programs' },
  env: {
    type: 'string',
    value: 'NAME',
    help: 'the environment variable that has the dburi, instead of DATABASE_URL',
  },
  help: { type: 'boolean', help: 'this text' },
}

/** Of the commands on results. */
export const TABLE_OPTIONS: Readonly<Record<string, OptionHelp>> = {
  'task-table': { type: 'string', value: 'NAME', help: 'the table of tasks (celery_taskmeta)' },
  'group-table': { type: 'string', value: 'NAME', help: 'the table of groups (celery_tasksetmeta)' },
  'table-schema': { type: 'string', value: 'NAME', help: 'the schema of both tables' },
  timezone: { type: 'string', value: 'ZONE', help: "the Celery app's timezone (UTC)" },
  celery: { type: 'string', value: 'VERSION', help: 'the Celery that shares the tables (the newest)' },
}
