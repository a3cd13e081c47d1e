import { debuglog } from 'node:util'
import { channels, onEnd, onStart } from './channels.ts'
import type {
  CheckoutContext,
  ConnectContext,
  OutcomeContext,
  StatementContext,
  TransactionContext,
} from './contexts.ts'

/** What is printed, and how. */
interface PrintOptions {
  /** The redacted dburi of the databases that are meant. @default all */
  readonly dburi?: string | undefined
  /** Whether a statement that took as many milliseconds is marked. @default none is */
  readonly isSlow?: (milliseconds: number) => boolean
  /** @default to stderr */
  readonly write?: (line: string) => void
}

/** Milliseconds from which on a wait for a connection is worth a line. */
const WAIT = 1
const LONGEST_TEXT = 2_000

/**
 * Prints a line for each statement, transaction, connection and wait for one, as it ends. No parameters are in it, since
 * the channels are told none.
 * @returns what stops it
 */
function print({ dburi, isSlow = () => false, write = toStderr }: PrintOptions): () => void {
  const say = (context: { readonly dburi: string; readonly connection?: number }, what: string) => {
    if (dburi !== undefined && context.dburi !== dburi) return
    write(
      `drizzle-celery ${context.dburi}${context.connection === undefined ? '' : ` #${context.connection}`} ${what}`,
    )
  }
  const stops = [
    onEnd(channels.connect, (context: ConnectContext) =>
      say(context, context.error === undefined ? `CONNECT ${took(context)}` : `CONNECT ${failed(context)}`),
    ),
    onEnd(channels.checkout, (context: CheckoutContext) => {
      const { error, durationMs = 0 } = context
      if (error !== undefined) say(context, `NO CONNECTION ${failed(context)}`)
      else if (durationMs >= WAIT) say(context, `WAITED ${took(context)} for a connection`)
    }),
    onEnd(channels.statement, (context: StatementContext) => {
      const { durationMs = 0, rows, error, text } = context
      const outcome = error === undefined ? `${took(context)} ${inRows(rows)}` : failed(context)
      say(context, `${isSlow(durationMs) ? 'SLOW ' : ''}${outcome} ${inOneLine(text)}`)
    }),
    onStart(channels.transaction, (context: TransactionContext) =>
      say(context, context.depth === 0 ? 'BEGIN' : 'SAVEPOINT'),
    ),
    onEnd(channels.transaction, (context: TransactionContext) => say(context, endOf(context))),
  ]
  return () => {
    for (const stop of stops.splice(0)) stop()
  }
}

interface Printing {
  /** What each who asked for it takes for slow, in milliseconds. */
  readonly limits: Set<{ readonly slowStatement: number }>
  stop(): void
}

/** The databases that are printed, by their redacted dburis. */
const printed = new Map<string, Printing>()

/**
 * Prints what is done on a database, once for all who ask for it. A statement is marked as slow from the least of their
 * `slowStatement` on, in milliseconds.
 * @returns what takes back the asking
 */
export function printDatabase(dburi: string, slowStatement = Number.POSITIVE_INFINITY): () => void {
  const { limits, stop } = printed.get(dburi) ?? beginPrinting(dburi)
  const limit = { slowStatement }
  limits.add(limit)
  return () => {
    if (!limits.delete(limit) || limits.size > 0) return
    printed.delete(dburi)
    stop()
  }
}

function beginPrinting(dburi: string): Printing {
  const limits: Printing['limits'] = new Set()
  const isSlow = (milliseconds: number) =>
    [...limits].some(({ slowStatement }) => milliseconds >= slowStatement)
  const printing = { limits, stop: print({ dburi, isSlow }) }
  printed.set(dburi, printing)
  return printing
}

let hasBegun = false

/** Whether `NODE_DEBUG=drizzle-celery` is set, by which all databases of the process are printed from now on. */
export function printsAll(): boolean {
  const { enabled } = debuglog('drizzle-celery')
  if (enabled && !hasBegun) print({})
  hasBegun = true
  return enabled
}

function endOf(context: TransactionContext): string {
  const { depth, outcome, error } = context
  if (error !== undefined) return `${depth === 0 ? 'COMMIT' : 'RELEASE'} ${failed(context)}`
  const words =
    depth === 0 ? { commit: 'COMMIT', rollback: 'ROLLBACK' } : { commit: 'RELEASE', rollback: 'ROLLBACK TO' }
  return `${words[outcome ?? 'rollback']} ${took(context)}`
}

function took({ durationMs = 0 }: OutcomeContext): string {
  return `${durationMs.toFixed(1)} ms`
}

function failed(context: OutcomeContext): string {
  return `FAILED ${context.errorCode ?? ''} ${took(context)}`.replace('  ', ' ')
}

function inRows(rows: number | undefined): string {
  return rows === undefined ? '' : rows === 1 ? '1 row' : `${rows} rows`
}

function inOneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= LONGEST_TEXT ? line : `${line.slice(0, LONGEST_TEXT)}…`
}

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`)
}
