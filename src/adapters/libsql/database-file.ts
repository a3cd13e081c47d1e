import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { WriteMutex } from './write-mutex.ts'

/** A database file that connections of this process have open. */
export class DatabaseFile {
  readonly path: string
  /** Guards writes to it within this process. */
  readonly mutex = new WriteMutex()
  #connections = 0

  constructor(path: string) {
    this.path = path
  }

  /** Whether nobody else in this process has a connection to it. */
  get hasOneConnection(): boolean {
    return this.#connections === 1
  }

  /** Changes whenever any process has written to the file, as precisely as its time stamps tell. */
  version(): string {
    return [this.path, `${this.path}-wal`].map(stampOf).join()
  }

  connectionOpened(): void {
    this.#connections++
  }

  /** Resolves when the file handles of the connection are closed as well. */
  connectionClosed(): Promise<void> {
    this.#connections--
    return this.released()
  }

  /**
   * Resolves when the driver has let go of what was closed. What it used for a short call is young garbage, which costs
   * a millisecond to collect; what lived through a long one takes a full collection, which has to be worth it.
   * @param isFinal an engine is closed: be sure, also where the system does not tell which files are open
   */
  async released({ isFinal = false } = {}): Promise<void> {
    await collectGarbage('minor')
    if (this.#connections === 0 && (isOpen(this.path) ?? isFinal)) await collectGarbage('major')
  }
}

function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false })
  return `${stat?.mtimeMs} ${stat?.size}`
}

/** One engine's share of a file. */
export interface SharedFile {
  readonly file: DatabaseFile
  /** Safe to call twice. */
  letGo(): Promise<void>
}

const shared = new Map<string, { readonly file: DatabaseFile; users: number }>()

/** The file with this real path, shared by all engines of the process. */
export function shareFile(path: string): SharedFile {
  const entry = shared.get(path) ?? { file: new DatabaseFile(path), users: 0 }
  shared.set(path, entry)
  entry.users++
  let isGone = false
  return {
    file: entry.file,
    letGo: async () => {
      if (isGone) return
      isGone = true
      entry.users--
      if (entry.users === 0) shared.delete(path)
      await entry.file.released({ isFinal: true })
    },
  }
}

type Kind = 'minor' | 'major'

/** Collections that have not begun: those who ask meanwhile share one. */
const pending = new Map<Kind, Promise<void>>()
let collector: NodeJS.GCFunction | null | undefined

/**
 * Has V8 collect its garbage, and waits for the finalizers. libSQL's native driver knows no other way to close a file:
 * its `close()` leaves the SQLite connection to the statements that were prepared on it, and those are closed by their
 * finalizers only (https://github.com/tursodatabase/libsql-js/issues/228).
 *
 * Does nothing but wait for a turn of the event loop where the runtime hands out no collector.
 */
function collectGarbage(kind: Kind): Promise<void> {
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
function isOpen(path: string): boolean | undefined {
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
