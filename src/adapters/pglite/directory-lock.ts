import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseLockedError } from '../../errors.ts'
import { realPath } from '../../options/paths.ts'

/** A directory that nobody else opens until it is released. */
export interface DirectoryLock {
  /** The directory by its real path. */
  readonly directory: string
  /** Safe to call twice. */
  release(): void
}

/** Who holds a lock, as its file says. */
interface Holder {
  /** Of this holding alone: no two locks ever have the same. */
  readonly id: string
  readonly pid: number
  /** Tells a process from a later one with the same pid; `null` where the system does not say. */
  readonly startedAt: string | null
  readonly host: string
}

/**
 * Locks a directory for this process by the file `<directory>.lock` beside it: PGlite has no lock of its own, and two
 * of them in one directory destroy each other's data. The lock of a process that died is taken over.
 *
 * A lock file appears with all its content, by `link`, so nobody reads half of one. A dead holder's is never deleted
 * to make room, since that could delete the lock of a quicker process. Instead its successor links the file
 * `<directory>.lock.<id of the dead>`, which only one can do, and renames it over the dead one's. Should the successor
 * die in between, the same goes for its file: dead holders form a line, and who comes last in it holds the lock.
 *
 * @throws DatabaseLockedError when another holds it, in this process or another one
 */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  // All spellings of a directory have one real path, also while it is yet to be made.
  const directory = realPath(path)
  if (directory === null) throw new Error('it is a symbolic link to nowhere')
  if (!existsSync(dirname(directory))) throw new Error(`there is no directory ${dirname(directory)}`)
  const file = `${directory}.lock`
  const mine = thisHolder()
  const draft = `${file}.${mine.id}.new`
  try {
    write(draft, mine)
    for (let round = 1; !link(draft, file) && !succeed(file, draft, mine, round); round++) await sleep(round)
  } finally {
    rmSync(draft, { force: true })
  }
  return {
    directory,
    release() {
      if (read(file)?.id === mine.id) rmSync(file, { force: true })
    },
  }
}

/** Takes the place of a dead holder; false when others are about to, and it is to be looked at again. */
function succeed(file: string, draft: string, mine: Holder, round: number): boolean {
  const line = lineOf(file)
  if (line.holder !== null) {
    // Who stands further back takes over just now, or stands aside: in a moment it is known who has the lock.
    if (line.place !== file && round < MOST_ROUNDS) return false
    throw lockedBy(line.holder, file)
  }
  if (line.dead.length === 0 || !link(draft, line.place)) return false

  // If a quicker one has renamed its file away, the place was empty again, but the line is another one.
  if (lineOf(file).holder?.id !== mine.id) {
    rmSync(line.place, { force: true })
    return false
  }
  renameSync(line.place, file)
  for (const place of line.dead) if (place !== file) rmSync(place, { force: true })
  return true
}

/** With a wait between them that grows by a millisecond each: a third of a second. */
const MOST_ROUNDS = 25

/** Walks along the dead to who holds the lock, or to the place where the next one may stand. */
function lineOf(file: string): { dead: string[]; holder: Holder | null; place: string } {
  const dead: string[] = []
  let place = file
  for (let holder = read(place); holder !== null; holder = read(place)) {
    if (isAlive(holder)) return { dead, holder, place }
    dead.push(place)
    place = `${file}.${holder.id}`
  }
  return { dead, holder: null, place }
}

function lockedBy(holder: Holder, file: string): DatabaseLockedError {
  const isOurs = holder.pid === process.pid && holder.host === hostname()
  const who = isOurs
    ? `this process (pid ${holder.pid}) has it open already: use one engine, or dispose of the other first`
    : holder.host === hostname()
      ? `the process with pid ${holder.pid} has it open, and PGlite serves one process at a time`
      : `a process on the host ${JSON.stringify(holder.host)} has it open (pid ${holder.pid}); if that is gone, delete ${file}`
  return new DatabaseLockedError(file.replace(/\.lock$/, ''), holder.pid, who)
}

function thisHolder(): Holder {
  return { id: randomUUID(), pid: process.pid, startedAt: startOf(process.pid), host: hostname() }
}

/** Of a process on another host nothing can be known, so it counts as alive. */
function isAlive({ pid, startedAt, host }: Holder): boolean {
  if (host !== hostname()) return true
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false
  }
  const startedNow = startOf(pid)
  return startedAt === null || startedNow === null || startedAt === startedNow
}

/** When a process started, in a form that is only good for comparison; known on Linux only, from `/proc`. */
function startOf(pid: number): string | null {
  try {
    // The name of the program, in parentheses, may hold anything, blanks and parentheses too.
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    if (state === 'Z' || state === 'X') return 'ended'
    // Counted from when the system was booted.
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()}/${fields[18]}`
  } catch {
    return null // there is no /proc, or it hides the processes of others
  }
}

/** On disk before anybody sees it: a loss of power may leave the lock of a dead process, but never half of one. */
function write(file: string, holder: Holder): void {
  const descriptor = openSync(file, 'wx')
  try {
    writeSync(descriptor, `${JSON.stringify(holder)}\n`)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** Gives a file a second name, unless the name is taken. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Who holds the lock of a file; `null` when there is no file. */
function read(file: string): Holder | null {
  try {
    const holder: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (isHolder(holder)) return holder
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new Error(`${file} should be the lock of the directory, but is something else; move it away`)
}

function isHolder(value: unknown): value is Holder {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    typeof value.id === 'string' &&
    /^[\w-]+$/.test(value.id) &&
    'pid' in value &&
    Number.isSafeInteger(value.pid) &&
    Number(value.pid) > 0 &&
    'startedAt' in value &&
    (value.startedAt === null || typeof value.startedAt === 'string') &&
    'host' in value &&
    typeof value.host === 'string'
  )
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
