// All that the root has but the registry: a program that names its adapters itself loads no others.

// Opening databases
export { CoreSessionManager as SessionManager, type SessionManagerStats } from './session/manager.ts'
export type { SessionManagerOptions } from './session/manager-options.ts'
export type { EngineFor, ModelsByDialect, ResultModelsByDialect, SessionFor } from './session/types.ts'
export type { SessionFactoryOptions, SessionWorkOptions } from './session/options.ts'
export type { Propagation } from './session/propagation.ts'
export { Session, type SessionOptions } from './session/session.ts'
export { insertMany, type InsertManyOptions } from './session/insert-many.ts'
export type { EngineHealth, Health } from './session/health.ts'
export type {
  DisposeOptions,
  Engine,
  EngineConnection,
  EngineOptions,
  EngineStats,
} from './engine/engine.ts'
export type { Limited, StatementOptions } from './engine/limited.ts'
export type { StreamOptions } from './engine/stream.ts'
export type { PingOptions } from './engine/ping.ts'
export type { NewConnection, OnConnect } from './engine/new-connection.ts'
export type { CheckoutOptions, PoolStats, PoolTotals } from './engine/pool-rules.ts'
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
  PgHandle,
  PostgresJsHandle,
} from './driver/dialect.ts'
export type { Drivers, Opens, Schemes } from './engine/registry.ts'
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
  NotificationHandler as Hearing,
  Subscription,
  Subscription as Listening,
  Transaction,
  TransactionOptions,
} from './driver/types.ts'
export type { Statement } from './driver/statement.ts'

// What is seen from outside
export type {
  CheckoutContext,
  ConnectContext,
  DatabaseContext,
  OutcomeContext,
  PrepareContext,
  SessionContext,
  StatementContext,
  StoreContext,
  TransactionContext,
} from './tracing/contexts.ts'

// Errors
export * from './errors.ts'
export * from './schema/errors.ts'
export * from './backend/errors.ts'
