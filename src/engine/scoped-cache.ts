import type { Cache } from 'drizzle-orm/cache/core'
import { dburiKey } from '../dburi/key.ts'
import type { Dburi } from '../dburi/types.ts'
import type { EngineOptions } from './options.ts'

/** Tells one `onConnect` from another: what a connection sees may be by what was set on it. */
const names = new WeakMap<object, string>()

/**
 * Drizzle's cache for what one database answers. Drizzle itself finds answers by the text and the parameters of a query, and
 * a manager gives one cache to the databases of all its tenants. The same database has the same answers in every process,
 * unless it is in memory, or seen through an `onConnect` without an `engineKey`.
 */
export function scopedCache(cache: Cache, dburi: Dburi, options: EngineOptions): Cache {
  const scope = scopeOf(dburi, options)
  const scoped = (key: string) => `${scope}:${key}`
  const own: Pick<Cache, 'strategy' | 'get' | 'put' | 'onMutate'> = {
    strategy: () => cache.strategy(),
    get: (key, ...more) => cache.get(scoped(key), ...more),
    put: (key, ...more) => cache.put(scoped(key), ...more),
    // Tables are those of all databases: it costs the others a query, and them only.
    onMutate: (mutation) => {
      const { tags } = mutation
      return cache.onMutate(tags === undefined ? mutation : { ...mutation, tags: [tags].flat().map(scoped) })
    },
  }
  // Still an instance of its class, by which Drizzle knows caches. What has private fields is called on the original.
  return Object.assign(Object.create(cache), own)
}

function scopeOf(
  dburi: Dburi,
  { engineKey = '', onConnect, sqliteRoot = '', timeZone = '' }: EngineOptions,
): string {
  const { createHash, randomUUID } = process.getBuiltinModule('node:crypto')
  // Readers of the cache must not learn a password.
  const database = dburi.memory ? randomUUID() : dburiKey({ ...dburi, password: null })
  const isOwn = onConnect !== undefined && engineKey === ''
  const seenBy = isOwn ? (names.get(onConnect) ?? randomUUID()) : engineKey
  if (isOwn) names.set(onConnect, seenBy)
  const said = JSON.stringify([database, seenBy, sqliteRoot, timeZone])
  return createHash('sha256').update(said).digest('base64url').slice(0, 22)
}
