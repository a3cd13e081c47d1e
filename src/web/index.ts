export { resultsApp } from './app.ts'
export { type FetchHandler, toNodeHandler } from './node.ts'
export type { ResultsAppOptions } from './options.ts'
