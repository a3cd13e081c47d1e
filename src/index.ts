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
} from './session-manager.ts'
export { Session, type SessionOptions } from './session.ts'
export type {
  DisposeOptions,
  Engine,
  EngineConnection,
  EngineOptions,
  EngineStats,
} from './engine.ts'
export type { CheckoutOptions } from './pool.ts'
export type { PoolStats } from './pool-rules.ts'
export type { PoolOptions } from './pool-options.ts'
export type { PrepareMode, PrepareOptions } from './schema/options.ts'
export type { Difference, PreparedModels } from './schema/diff.ts'

// Dburis
export { type Dburi, parseDburi } from './dburi.ts'
export { redactDburi } from './redact-dburi.ts'

// Dialects and adapters
export type {
  Dialect,
  HandleByDialect,
  LibsqlHandle,
  Mysql2Handle,
  PgliteHandle,
  PostgresJsHandle,
} from './dialect.ts'
export { type Drivers, type Opens, registerAdapter, type Schemes } from './dialect-resolver.ts'
export type {
  Adapter,
  AdapterOptions,
  Connection,
  Database,
  DrizzleLogger,
  Executor,
  Hearing,
  Listening,
  Transaction,
  TransactionOptions,
} from './adapter.ts'
export type { Statement } from './statement.ts'

// Errors
export * from './errors.ts'
export { causes } from './causes.ts'
