import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { hostname, networkInterfaces } from 'node:os'
import type { DatabaseBackend } from '../backend/database-backend.ts'
import { visible } from '../backend/visible.ts'
import { parseDburi } from '../dburi/parse.ts'
import { isPath } from '../dburi/schemes.ts'
import { textOf, toError } from '../errors.ts'
import { resultsApp } from '../web/app.ts'
import { toNodeHandler } from '../web/node.ts'
import { LOOPBACK } from '../web/options.ts'
import { type Call, type Command, EXIT, TABLE_OPTIONS, UsageError } from './command.ts'
import { withBackend } from './connect.ts'

/** `web`: the page, until Ctrl-C. */
export const web: Command = {
  summary:
    'show results in a browser: lists, tasks, charts; read-only and for this machine unless told otherwise',
  operands: '',
  count: [0, 0],
  options: {
    host: { type: 'string', value: 'ADDRESS', help: 'where to listen (127.0.0.1); 0.0.0.0 for all networks' },
    port: { type: 'string', value: 'PORT', help: 'which port (8555); 0 for any that is free' },
    token: {
      type: 'string',
      value: 'TEXT',
      help: 'the token that lets one in, instead of a new one each time',
    },
    'allowed-host': {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'a name under which browsers reach it, behind a proxy for example; may be given again',
    },
    write: { type: 'boolean', help: 'results can be forgotten and cleaned up there' },
    'older-than': {
      type: 'string',
      value: 'TIME',
      help: 'with --write: the age from which on cleaning up deletes (1d)',
    },
    ...TABLE_OPTIONS,
  },
  run(call) {
    const { flags } = call
    const resultExpires = flags.seconds('older-than') ?? 86_400
    const isWriting = flags.has('write')
    if (flags.text('older-than') !== undefined && !isWriting)
      throw new UsageError('--older-than goes with --write')
    if (resultExpires === 0) throw new UsageError('--older-than takes a time above 0')
    const port = portOf(call)
    const options = { resultExpires, pickle: { maxBytes: MOST_RESULT_BYTES }, retryDeadline: 5 }
    const engineOptions = { poolSize: 4, maxOverflow: 0, ...deadlineFor(call.dburi) }
    return withBackend(call, (backend) => serve(call, backend, port), options, engineOptions)
  },
}

/** What runs in this thread cannot be ended, and says so. */
function deadlineFor(dburi: string): { readonly statementTimeout?: number } {
  const parsed = parseDburi(dburi)
  return isPath(parsed) || parsed.memory ? {} : { statementTimeout: 20 }
}

/** Larger results are not fetched. */
const MOST_RESULT_BYTES = 4_194_304
const PORT = 8555

async function serve(call: Call, backend: DatabaseBackend, wantedPort: number) {
  const { flags, output, signal } = call
  const host = flags.text('host') ?? '127.0.0.1'
  // A given one may be known elsewhere: it is not printed.
  const given = flags.text('token')
  const token = given ?? randomBytes(18).toString('base64url')
  const app = resultsApp(backend, {
    token,
    allowedHosts: [...namesOf(host), ...flags.texts('allowed-host')],
    readOnly: !flags.has('write'),
    onError(error) {
      // What was under way at the end is no news.
      if (!signal.aborted) process.stderr.write(`drizzle-celery: ${visible(toError(error).message)}\n`)
    },
  })
  const server = createServer(toNodeHandler(app))
  const port = await listening(server, host, wantedPort)
  const shownHost = WILDCARDS.has(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host
  const url = `http://${shownHost}:${port}/${given === undefined ? `?token=${token}` : ''}`
  if (output.isJson) output.json({ url })
  else {
    output.line(`Results of ${backend.asUri()}`)
    output.line(`${output.styled('bold', url)}`)
    if (!LOOPBACK.includes(shownHost) || WILDCARDS.has(host))
      output.line('The connection is not encrypted: put a proxy with TLS before it, or read along who can.')
    output.line(output.styled('dim', 'Ctrl-C ends'))
  }
  if (!signal.aborted) await once(signal, 'abort')
  server.close()
  server.closeAllConnections()
  return EXIT.done
}

const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** Under which names browsers reach it there. Addresses are no danger: only a name can be made to point elsewhere. */
function namesOf(host: string): string[] {
  const literal = (address: string) => (address.includes(':') ? `[${address.replace(/%.*$/, '')}]` : address)
  if (!WILDCARDS.has(host)) return [...LOOPBACK, literal(host)]
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return [...LOOPBACK, hostname(), ...addresses.map(({ address }) => literal(address))]
}

/** @throws UsageError */
function portOf({ flags }: Call): number {
  const text = flags.text('port') ?? String(PORT)
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (port <= 65_535) return port
  throw new UsageError('--port takes a number from 0 to 65535')
}

/** Resolves to the port. @throws UsageError where it cannot listen there */
async function listening(server: Server, host: string, port: number): Promise<number> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const why = textOf(cause, 'code') ?? 'it failed'
    throw new UsageError(
      `Cannot listen on port ${port} of that host: ${why}. Give another --port, or 0 for any that is free`,
      { cause },
    )
  }
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}
