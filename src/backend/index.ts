export { fromCeleryConfig } from './celery-config.ts'
export type { CleanupCounts, CleanupOptions } from './cleanup.ts'
export { jsonSerializer, pickleSerializer, type Serializer, taskErrorOf } from './column.ts'
export { type BackendOptions, DatabaseBackend, type TaskResult } from './database-backend.ts'
export {
  AmbiguousOutcomeError,
  BackendError,
  type BackendErrorCode,
  BackendGetMetaError,
  BackendStoreError,
  ResultTimeoutError,
  TaskError,
  type TaskFailure,
} from './errors.ts'
export type { GroupInput, GroupMember, SavedGroup } from './groups.ts'
export type { ListedTask, ListOptions, TaskPage } from './list.ts'
export type { DatabaseBackendOptions, TableNames } from './options.ts'
export type { WaitOptions } from './poller.ts'
export type { AskOptions } from './reading.ts'
export { AsyncResult, type GetOptions, GroupResult } from './results.ts'
export type { TaskMeta } from './types.ts'
export { EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, type State } from './types.ts'
export type { StoreOptions, TaskRequest } from './writing.ts'
