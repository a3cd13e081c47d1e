import { statSync } from 'node:fs'
import { collectGarbage, isOpen } from './handles.ts'
import { WriteMutex } from './write-mutex.ts'

/** A database file that connections of this process have open. */
export class DatabaseFile {
  readonly path: string
  /** Whose turn it is to write to it. */
  readonly mutex = new WriteMutex()
  #connections = 0

  constructor(path: string) {
    this.path = path
  }

  /** Whether nobody else in this process has a connection to it. */
  get hasOneConnection(): boolean {
    return this.#connections === 1
  }

  /** Changes when somebody, of whatever process, has written to it; with the precision of its time stamps. */
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
