// Opening databases
export {
  type EngineFor,
  type ModelsByDialect,
  type ResultModelsByDialect,
  type SessionFactoryOptions,
  type SessionFor,
  SessionManager,
  type SessionManagerOptions,
  type SessionManagerStats,
} from './session/manager.ts'
export { Session, type SessionOptions } from './session/session.ts'
export type {
  DisposeOptions,
  Engine,
  EngineConnection,
  EngineOptions,
  EngineStats,
} from './engine/engine.ts'
export type { CheckoutOptions } from './engine/pool.ts'
export type { PoolStats } from './engine/pool-rules.ts'
export type { PoolOptions } from './options/pool.ts'
export type { PrepareMode, PrepareOptions } from './schema/options.ts'
export type { Difference, PreparedModels } from './schema/diff.ts'

// Dburis
export { parseDburi } from './dburi/parse.ts'
export type { Dburi } from './dburi/types.ts'
export { redactDburi } from './dburi/redact.ts'

// Dialects and adapters
export type { Dialect } from './dburi/types.ts'
export type {
  HandleByDialect,
  LibsqlHandle,
  Mysql2Handle,
  PgliteHandle,
  PostgresJsHandle,
} from './driver/dialect.ts'
export { type Drivers, type Opens, registerAdapter, type Schemes } from './engine/registry.ts'
export type {
  Adapter,
  AdapterOptions,
  Connection,
  Database,
  DrizzleLogger,
  Executor,
  NotificationHandler,
  NotificationHandler as Hearing,
  Subscription,
  Subscription as Listening,
  Transaction,
  TransactionOptions,
} from './driver/types.ts'
export type { Statement } from './driver/statement.ts'

// Errors
export * from './errors.ts'
export * from './backend/errors.ts'
