/** Real Celery, one question at a time (`oracle.py`), and rows that it once wrote. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { python3 } from '../fixtures/servers.ts'

export interface WrittenRows {
  readonly tasks: Readonly<Record<string, WrittenTask>>
  readonly groups: Readonly<Record<string, string>>
}

/** The bytes in hex. */
export interface WrittenTask {
  readonly status: string
  readonly result: string | null
  readonly traceback: string | null
  readonly args: string | null
  readonly kwargs: string | null
}

export interface ReadRows {
  readonly tasks: readonly { readonly state: string; readonly result: unknown; readonly args: string }[]
  readonly groups: readonly unknown[]
}

/** What `oracle.py write` answered, with Celery 5.2.6, for each `result_serializer`. */
export function recordedRows(): Readonly<Record<'json' | 'pickle', WrittenRows>> {
  return JSON.parse(readFileSync(new URL('recorded-rows.json', import.meta.url), 'utf8'))
}

export function askCelery<Answer>(
  command: 'dumps' | 'json' | 'read' | 'write',
  request: object = {},
): Answer {
  const python = python3()
  if (python === null) throw new Error('No Python here has Celery')
  const program = fileURLToPath(new URL('oracle.py', import.meta.url))
  const input = JSON.stringify({ command, ...request })
  const { stdout, stderr, status } = spawnSync(python, [program], { input, encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr.slice(-2_000))
  return JSON.parse(stdout)
}

export function hexOf(bytes: Uint8Array | null): string | null {
  return bytes && Buffer.from(bytes).toString('hex')
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}

interface Vector {
  readonly name: string
  readonly hex: string
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../fixtures/pickle/vectors.json', import.meta.url), 'utf8'),
)

/** The bytes of a vector of `test/fixtures/pickle`, by its name: `group_minimal_no_backend@p5`. */
export function vector(name: string): Uint8Array {
  const found = vectors.find((candidate) => candidate.name === name)
  if (found === undefined) throw new Error(`There is no vector ${name}`)
  return bytesOf(found.hex)
}
