// What an adapter for `registerAdapter` is made of: docs/adapters.md.

export { optionsOf } from '../dburi/secrets.ts'
export type { Dburi, Dialect } from '../dburi/types.ts'
export { toError } from '../errors.ts'
export { pathUnder } from '../options/paths.ts'
export {
  invalid as invalidOption,
  refused as refusedOption,
  toBoolean,
  toNumber,
  toWord,
  unknown as unknownOption,
} from '../options/values.ts'
export { hidingParams, keepingParams, refusal, refusedMembers, showClient } from './client.ts'
export { isMarked, markName, unmarkName, unmarkRows } from './column-names.ts'
export { type Deadline, deadlineIn, onAbort, stopAfter, TooSlow, unlessStopped } from './deadline.ts'
export { type DrizzleConfig, drizzleConfig, withinTransaction, withLogger } from './drizzle.ts'
export {
  Endpoints,
  isForWriting,
  type Leaving,
  type Places,
  Route,
  SESSION_ATTRS,
  type TargetSessionAttrs,
} from './endpoints.ts'
export { owesRound, round as nextRound } from './event-loop.ts'
export { Fifo } from './fifo.ts'
export { missingDriver } from './load.ts'
export { LruMap } from './lru-map.ts'
export { RawOptions, REPEATED_PARTS } from './options.ts'
export { type MessageContext, redactMessage } from './redact.ts'
export { addressOf, CLOSE_TIMEOUT, InFlight, inOneLine, isLoopback, openSocket, printable } from './socket.ts'
export {
  HIDDEN,
  holderNeeded,
  isOwnError,
  isSeveral,
  type KnownText,
  type Statement,
  StatementCache,
  type StatementTraits,
  splitStatements,
  traitsOf,
  transactionControlRefused,
} from './statement.ts'
export type {
  Adapter,
  AdapterOptions,
  Connection,
  Cursor,
  Database,
  DrizzleLogger,
  Executor,
  NamedAdapter,
  NotificationHandler,
  RunOptions,
  Subscription,
  Transaction,
  TransactionOptions,
  WaitOptions,
} from './types.ts'
