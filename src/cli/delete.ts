import type { DatabaseBackend } from '../backend/database-backend.ts'
import { type Command, EXIT, TABLE_OPTIONS, UsageError } from './command.ts'
import { withBackend } from './connect.ts'

/** `forget`: deletes the rows of tasks. */
export const forget: Command = {
  summary: 'delete what is stored of tasks',
  operands: 'ID…',
  count: [1, 10_000],
  options: TABLE_OPTIONS,
  run: (call) =>
    withBackend(call, async (backend) => {
      const { output, operands, signal } = call
      let forgotten = 0
      for (const id of operands) {
        signal.throwIfAborted()
        const isThere = await backend.taskResultExists(id)
        if (isThere) await backend.forget(id)
        if (isThere) forgotten++
        if (output.isJson) output.json({ taskId: id, forgotten: isThere })
      }
      if (!output.isJson)
        output.line(`${forgotten} of ${operands.length} tasks were stored, and are deleted.`)
      return forgotten === operands.length ? EXIT.done : EXIT.no
    }),
}

/** `cleanup`: deletes what expired, as Celery's `backend_cleanup` does. */
export const cleanup: Command = {
  summary: 'delete the results that are older than a day, or than you say',
  operands: '',
  count: [0, 0],
  options: {
    'older-than': {
      type: 'string',
      value: 'TIME',
      help: 'the age from which on results are deleted: 12h, 7d (1d)',
    },
    'dry-run': { type: 'boolean', help: 'delete nothing, and count the finished tasks of that age' },
    ...TABLE_OPTIONS,
  },
  async run(call) {
    const { flags, output, signal } = call
    const resultExpires = flags.seconds('older-than') ?? DAY
    if (resultExpires === 0) throw new UsageError('--older-than takes a time above 0')
    const work = async (backend: DatabaseBackend) => {
      const until = new Date(Date.now() - resultExpires * 1_000)
      if (flags.has('dry-run')) {
        const tasks = await countBefore(backend, until, signal, Number.POSITIVE_INFINITY)
        if (output.isJson) output.json({ tasks, dryRun: true })
        else
          output.line(`${number(tasks)} tasks were done before ${until.toISOString()}. Nothing was deleted.`)
        return EXIT.done
      }
      // Only for the bar: of more nobody waits for the counting.
      const total = output.isTerminal ? await countBefore(backend, until, signal, MOST_COUNTED) : 0
      const deleted = await backend.cleanup({
        signal,
        onProgress: ({ tasks, groups }) => output.control(`\r\x1b[K${bar(tasks + groups, total)}`),
      })
      output.control('\r\x1b[K')
      if (output.isJson) output.json(deleted)
      else output.line(`${number(deleted.tasks)} tasks and ${number(deleted.groups)} groups were deleted.`)
      return EXIT.done
    }
    return withBackend(call, work, { resultExpires })
  },
}

const DAY = 86_400
const MOST_COUNTED = 200_000
const BAR = 30

async function countBefore(
  backend: DatabaseBackend,
  until: Date,
  signal: AbortSignal,
  most: number,
): Promise<number> {
  let count = 0
  for (let cursor: string | null | undefined; cursor !== null && count < most; ) {
    signal.throwIfAborted()
    const page = await backend.list({ until, orderBy: 'dateDone', limit: 10_000, cursor: cursor ?? null })
    count += page.items.length
    cursor = page.cursor
  }
  return count
}

function bar(deleted: number, total: number): string {
  if (total === 0) return `${number(deleted)} deleted`
  const part = Math.min(1, deleted / total)
  const filled = Math.round(part * BAR)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${Math.floor(part * 100)} %  ${number(deleted)} deleted`
}

function number(count: number): string {
  return count.toLocaleString('en-US')
}
