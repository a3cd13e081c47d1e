import { readdirSync, readlinkSync } from 'node:fs'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

type Kind = 'minor' | 'major'

/** Collections that have not begun: whoever asks meanwhile is served by the same one. */
const pending = new Map<Kind, Promise<void>>()
let collector: NodeJS.GCFunction | null | undefined

/**
 * Has V8 collect its garbage, and waits for the finalizers. libSQL's native driver knows no other way to close a file:
 * its `close()` leaves the SQLite connection to the statements that were prepared on it, and those are closed by their
 * finalizers only (https://github.com/tursodatabase/libsql-js/issues/228).
 *
 * Does nothing but wait for a turn of the event loop where the runtime hands out no collector.
 */
export function collectGarbage(kind: Kind): Promise<void> {
  const next = pending.get(kind) ?? collectSoon(kind)
  pending.set(kind, next)
  return next
}

async function collectSoon(kind: Kind): Promise<void> {
  // Nothing on the stack may still refer to what is to be collected.
  await turnOfTheLoop()
  pending.delete(kind)
  if (collector === undefined) collector = findCollector()
  // In Node 20 `{ type: 'major' }` collects no more than 'minor' does.
  if (kind === 'major') collector?.()
  else collector?.({ type: 'minor' })
  // Finalizers run between two turns.
  await turnOfTheLoop()
}

/** As Jest's leak detector gets hold of it. The flag is taken back at once: contexts made later are not to have a `gc`. */
function findCollector(): NodeJS.GCFunction | null {
  if (globalThis.gc !== undefined) return globalThis.gc
  try {
    setFlagsFromString('--expose-gc')
    const found: unknown = runInNewContext('typeof gc === "function" ? gc : null')
    setFlagsFromString('--no-expose-gc')
    return isCollector(found) ? found : null
  } catch {
    return null
  }
}

function isCollector(found: unknown): found is NodeJS.GCFunction {
  return typeof found === 'function'
}

/** Whether this process has a database or a file beside it open; undefined where the system does not tell. */
export function isOpen(path: string): boolean | undefined {
  try {
    return readdirSync(DESCRIPTORS).some((descriptor) => isPartOf(path, targetOf(descriptor)))
  } catch {
    return undefined
  }
}

/** Linux has the open files of a process here, each a link. */
const DESCRIPTORS = '/proc/self/fd'

function targetOf(descriptor: string): string {
  try {
    return readlinkSync(`${DESCRIPTORS}/${descriptor}`)
  } catch {
    // The one by which the folder was read is closed again.
    return ''
  }
}

/** The database itself, `-wal`, `-shm` and the like, and any of them after it was deleted. */
function isPartOf(path: string, file: string): boolean {
  return file.startsWith(path) && /^(?:$|-| \(deleted\)$)/.test(file.slice(path.length))
}
