// For tests of programs: docs/testing.md.

export { copyDatabase, type TestDatabase } from './copy.ts'
export { type TestSessions, testSessions } from './sessions.ts'
export { type WorkerDatabaseOptions, workerDatabase } from './worker.ts'
