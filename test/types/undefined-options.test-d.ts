/** Under `exactOptionalPropertyTypes` every option may be given as `undefined`: it counts as left out. */
import type {
  CheckoutOptions,
  DisposeOptions,
  EngineOptions,
  ModelsByDialect,
  PrepareOptions,
  SessionFactoryOptions,
  SessionManagerOptions,
  SessionOptions,
  TransactionOptions,
} from 'drizzle-celery'
import type { DatabaseBackend } from 'drizzle-celery/backend'
import type { resultModels as mysqlModels } from 'drizzle-celery/models/mysql'
import type { resultModels as postgresqlModels } from 'drizzle-celery/models/postgresql'
import type { resultModels as sqliteModels } from 'drizzle-celery/models/sqlite'
import type { decode, encode } from 'drizzle-celery/pickle'
import type { ddl } from 'drizzle-celery/schema'

type Undefined<Options> = { [Name in keyof Required<Options>]: undefined }

function takes<Options>(_options: Undefined<Options> extends Options ? true : keyof Options): void {}

takes<EngineOptions>(true)
takes<DisposeOptions>(true)
takes<CheckoutOptions>(true)
takes<TransactionOptions>(true)
takes<SessionOptions>(true)
takes<SessionFactoryOptions>(true)
takes<SessionManagerOptions<ModelsByDialect>>(true)
takes<PrepareOptions>(true)
takes<NonNullable<ConstructorParameters<typeof DatabaseBackend>[1]>>(true)
takes<NonNullable<Parameters<DatabaseBackend['list']>[0]>>(true)
takes<NonNullable<Parameters<DatabaseBackend['cleanup']>[0]>>(true)
takes<NonNullable<Parameters<DatabaseBackend['storeResult']>[3]>>(true)
takes<NonNullable<Parameters<DatabaseBackend['getTaskMeta']>[1]>>(true)
takes<NonNullable<Parameters<typeof decode>[1]>>(true)
takes<NonNullable<Parameters<typeof encode>[1]>>(true)
takes<NonNullable<Parameters<typeof ddl>[2]>>(true)
takes<NonNullable<Parameters<typeof mysqlModels>[0]>>(true)
takes<NonNullable<Parameters<typeof postgresqlModels>[0]>>(true)
takes<NonNullable<Parameters<typeof sqliteModels>[0]>>(true)
