import { describe, expect, it } from 'vitest'
import { LruMap } from '../../src/driver/lru-map.ts'

describe('LruMap', () => {
  it('keeps so many entries, and says what went', () => {
    const map = new LruMap<string, number>(2)

    expect([map.set('a', 1), map.set('b', 2), map.set('c', 3)]).toEqual([undefined, undefined, 1])
    expect([map.get('a'), map.get('b'), map.get('c')]).toEqual([undefined, 2, 3])
  })

  it('takes another value for a key without dropping one', () => {
    const map = new LruMap<string, number>(2)
    map.set('a', 1)
    map.set('b', 2)

    expect(map.set('a', 3)).toBe(undefined)
    expect([map.get('a'), map.get('b')]).toEqual([3, 2])
  })

  it('keeps nothing for a size of 0', () => {
    const map = new LruMap<string, number>(0)

    expect(map.set('a', 1)).toBe(undefined)
    expect(map.get('a')).toBe(undefined)
  })

  it('never drops what was used last, by size / 2 lookups and sets', () => {
    const size = 16
    const map = new LruMap<number, number>(size)
    let used: number[] = []
    let dropped = 0
    let random = 1

    for (let turn = 0; turn < 20_000; turn++) {
      random = (random * 48_271) % 2_147_483_647
      // Some keys far more often than others.
      const key = Math.floor(Math.sqrt(random % 1_600))
      const gone = map.get(key) === undefined ? map.set(key, key) : undefined
      if (gone !== undefined) {
        dropped++
        expect(used).not.toContain(gone)
      }
      used = [...used, key].slice(-size / 2)
    }

    expect(dropped).toBeGreaterThan(1_000)
  })
})
