export { AsyncResult, type GetOptions } from './backend/async-result.ts'
export {
  type DatabaseBackendOptions,
  fromCeleryConfig,
  type TableNames,
} from './backend/backend-options.ts'
export type { CleanupCounts, CleanupOptions } from './backend/cleanup.ts'
export { type BackendOptions, DatabaseBackend, type TaskResult } from './backend/database-backend.ts'
export { taskErrorOf } from './backend/exceptions.ts'
export type { GroupInput } from './backend/group-input.ts'
export { GroupResult } from './backend/group-result.ts'
export type { GroupMember } from './backend/groups.ts'
export type { ListedTask, ListOptions, TaskPage } from './backend/list-tasks.ts'
export type { WaitOptions } from './backend/result-poller.ts'
export type { SavedGroup } from './backend/saved-groups.ts'
export { jsonSerializer, pickleSerializer, type Serializer } from './backend/serializer.ts'
export { EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, type State } from './backend/states.ts'
export type { TaskMeta } from './backend/task-meta.ts'
export type { AskOptions } from './backend/task-reader.ts'
export type { StoreOptions, TaskRequest } from './backend/task-write.ts'
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
