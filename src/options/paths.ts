import { lstatSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { OptionError } from '../errors.ts'

/**
 * The real path of a database that must lie under `root`; it need not exist yet. Open what this returns, not `path`:
 * then what was checked is what is opened. A relative path is relative to the working directory, as without a root.
 *
 * @throws OptionError (`REFUSED_OPTION`) naming `sqliteRoot`, before anything is touched
 */
export function pathUnder(root: string, path: string): string {
  if (path === '') throw outside(path, 'it is empty')
  if (path.split(/[\\/]/).includes('..')) throw outside(path, 'it climbs up with ".."')
  if (/-(wal|shm|journal)$/i.test(path.replace(/[\\/]+$/, ''))) {
    throw outside(path, 'SQLite keeps its own files under such names')
  }

  const realRoot = realPath(resolve(root))
  const real = realPath(resolve(path))
  if (realRoot === null) throw outside(path, `the directory ${JSON.stringify(root)} cannot be found`)
  if (real === null) throw outside(path, 'it leads over a symbolic link to nowhere')
  const prefix = realRoot.endsWith(sep) ? realRoot : realRoot + sep
  if (!real.startsWith(prefix)) throw outside(path, `it lies outside ${JSON.stringify(root)}`)
  return real
}

/** An absolute path with its symbolic links followed, as far as it exists; `null` when one of them leads nowhere. */
export function realPath(path: string): string | null {
  try {
    return realpathSync(path)
  } catch (error) {
    // Where looking is not allowed opening is not either: its error says so.
    if (isLink(path)) return null
    const parent = dirname(path)
    if (parent === path) throw error
    const realParent = realPath(parent)
    return realParent === null ? null : join(realParent, basename(path))
  }
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink()
  } catch {
    return false
  }
}

function outside(path: string, reason: string): OptionError {
  return new OptionError(
    'REFUSED_OPTION',
    'sqliteRoot',
    `Cannot open the database ${JSON.stringify(path)}: sqliteRoot allows files under it only, and ${reason}`,
  )
}
