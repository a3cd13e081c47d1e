export { fromCeleryConfig } from './celery-config.ts'
export type { CleanupCounts, CleanupOptions } from './cleanup.ts'
export { jsonSerializer, pickleSerializer, type Serializer, taskErrorOf } from './column.ts'
export { type BackendOptions, DatabaseBackend, type TaskResult } from './database-backend.ts'
export type { DoneCount, DoneCounts, DoneCountsOptions } from './done-counts.ts'
export {
  AmbiguousOutcomeError,
  BackendError,
  type BackendErrorCode,
  BackendGetMetaError,
  BackendStoreError,
  ChainBrokenError,
  ResultTimeoutError,
  TaskError,
  type TaskFailure,
} from './errors.ts'
export type { GroupInput, GroupMember, SavedGroup } from './groups.ts'
export type { ListedTask, ListOptions, TaskPage } from './list.ts'
export type { DatabaseBackendOptions, TableNames } from './options.ts'
export { type PlainJson, toPlainJson } from './plain-json.ts'
export type { WaitOptions } from './poller.ts'
export type { AskOptions } from './reading.ts'
export type { RecentCounts, RecentCountsOptions } from './recent-counts.ts'
export {
  AsyncResult,
  type AsyncResultOptions,
  type GetOptions,
  type GetResultOptions,
  GroupResult,
  type GroupResultOptions,
  resultFromTuple,
} from './results.ts'
export type {
  MsgpackFunctions,
  SerializerName,
  SerializerPackages,
  YamlFunctions,
} from './serializers.ts'
export type { SchemaIssue, SchemaOutcome, StandardSchema } from './standard-schema.ts'
export type { PlainTaskMeta, StoredTask, TaskMeta } from './types.ts'
export { EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, type State } from './types.ts'
export type { StoreOptions, TaskRequest } from './writing.ts'
