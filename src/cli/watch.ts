import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseBackend } from '../backend/database-backend.ts'
import type { ListedTask } from '../backend/list.ts'
import { visible } from '../backend/visible.ts'
import { LONGEST_TIMEOUT } from '../options/pool.ts'
import { type Call, type Command, EXIT, TABLE_OPTIONS } from './command.ts'
import { withBackend } from './connect.ts'
import { COLUMNS, FILTERS, filtersOf, styleOf } from './results.ts'

/** `watch`: the newest tasks as they come and change, until Ctrl-C. */
export const watch: Command = {
  summary: 'watch the newest tasks on one screen; elsewhere than on a terminal, each change a line',
  operands: '',
  count: [0, 0],
  options: {
    ...FILTERS,
    every: { type: 'string', value: 'TIME', help: 'how often to look (1s)' },
    ...TABLE_OPTIONS,
  },
  run: (call) =>
    withBackend(call, async (backend) => {
      const seconds = Math.max(0.1, call.flags.seconds('every') ?? 1)
      const every = Math.min(seconds, LONGEST_TIMEOUT) * 1_000
      const isScreen = call.output.isTerminal && !call.output.isJson
      await (isScreen ? showScreen(call, backend, every) : tellChanges(call, backend, every))
      return EXIT.done
    }),
}

/** Rows of the list that are looked at each time: a change further down is not seen. */
const LOOKED_AT = 200
/** Another screen, without a cursor and without broken lines; and back. */
const [ENTER, LEAVE] = ['\x1b[?1049h\x1b[?25l\x1b[?7l', '\x1b[?7h\x1b[?25h\x1b[?1049l']

async function showScreen(call: Call, backend: DatabaseBackend, every: number): Promise<void> {
  const { output, signal } = call
  output.control(ENTER)
  try {
    while (!signal.aborted) {
      const rows = Math.max(1, (process.stdout.rows ?? 24) - 4)
      const { items } = await backend.list({ ...filtersOf(call), limit: Math.min(rows, LOOKED_AT) })
      const lines = [
        `${output.styled('bold', 'drizzle-celery')}  ${output.styled('dim', `${backend.asUri()}  Ctrl-C ends`)}`,
        countsLine(call, (await backend.recentCounts()).counts),
        '',
        ...output.tableLines(COLUMNS, items),
      ]
      // Each line over the old one: an emptied screen would flicker.
      output.control(`\x1b[H${lines.map((line) => `\x1b[K${line}`).join('\r\n')}\x1b[J`)
      await pause(every, signal)
    }
  } finally {
    output.control(LEAVE)
  }
}

export function countsLine(
  { output }: Pick<Call, 'output'>,
  counts: Readonly<Record<string, number>>,
): string {
  return Object.entries(counts)
    .sort(([, one], [, other]) => other - one)
    .slice(0, 6)
    .map(([state, count]) =>
      output.styled(styleOf(state) ?? 'cyan', `${visible(state)} ${count.toLocaleString('en-US')}`),
    )
    .join('  ')
}

async function tellChanges(call: Call, backend: DatabaseBackend, every: number): Promise<void> {
  const { output, signal } = call
  let known: ReadonlyMap<string, string> | null = null
  while (!signal.aborted) {
    const { items } = await backend.list({ ...filtersOf(call), limit: LOOKED_AT })
    const current = new Map(items.map((task) => [task.taskId, fingerprint(task)]))
    const before = known
    // What was there at the beginning is no change.
    const changed =
      before === null ? [] : items.filter((task) => before.get(task.taskId) !== fingerprint(task))
    for (const task of changed.reverse()) {
      if (output.isJson) output.json(task)
      else for (const line of output.tableLines(COLUMNS, [task]).slice(1)) output.line(line)
    }
    known = current
    await pause(every, signal)
  }
}

function fingerprint({ status, retries, dateDone }: ListedTask): string {
  return JSON.stringify([status, retries, dateDone])
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  // The signal ends the loop.
  await sleep(milliseconds, undefined, { signal }).catch(() => {})
}
