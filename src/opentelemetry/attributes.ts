import type { Attributes } from '@opentelemetry/api'
import type { DatabaseContext, OutcomeContext, StatementContext } from '../tracing/contexts.ts'
import { sanitized } from './sanitize.ts'

/** What tells one database from another, by the stable conventions for databases. */
export function databaseAttributes({
  dialect,
  database,
  serverAddress,
  serverPort,
}: DatabaseContext): Attributes {
  return {
    'db.system.name': dialect,
    ...(database !== null && { 'db.namespace': database }),
    ...(serverAddress !== null && { 'server.address': serverAddress }),
    ...(serverPort !== null && { 'server.port': serverPort }),
  }
}

/** What a failure is called. */
export function errorAttributes({ error, errorCode, isServerError }: OutcomeContext): Attributes {
  if (error === undefined) return {}
  return {
    'error.type': errorCode ?? (error instanceof Error ? error.name : '_OTHER'),
    ...(isServerError && errorCode !== undefined && { 'db.response.status_code': errorCode }),
  }
}

/** What a statement does, of few values: for metrics too. */
export function operationAttributes(context: StatementContext): Attributes {
  const { operation } = context
  return { ...databaseAttributes(context), ...(operation !== '' && { 'db.operation.name': operation }) }
}

/** Its text, without what was written into it. */
export function textAttributes({ text, dialect }: StatementContext): Attributes {
  const shown = sanitized(text, dialect)
  return shown === null ? {} : { 'db.query.text': shown }
}
