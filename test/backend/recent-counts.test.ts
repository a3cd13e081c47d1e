import { expect, it } from 'vitest'
import { CountsCache } from '../../src/backend/recent-counts.ts'

/** Counts by hand: each is under way until it is answered. */
function counting() {
  const underWay: { resolve(counts: Record<string, number>): void; reject(error: unknown): void }[] = []
  const cache = new CountsCache(() => {
    let resolve = (_: Record<string, number>) => {}
    let reject = (_: unknown) => {}
    const promise = new Promise<Record<string, number>>((settle, fail) => {
      resolve = settle
      reject = fail
    })
    underWay.push({ resolve, reject })
    return promise
  })
  return { cache, underWay }
}

it('gives all who ask one count, and its time', async () => {
  const { cache, underWay } = counting()
  const before = Date.now()
  const asked = [cache.get(), cache.get({ maxAge: 60 }), cache.get()]
  underWay[0]?.resolve({ SUCCESS: 3 })
  const [first, second, third] = await Promise.all(asked)

  expect(underWay).toHaveLength(1)
  expect(first?.counts).toEqual({ SUCCESS: 3 })
  expect(first?.countedAt.getTime()).toBeGreaterThanOrEqual(before)
  expect([second, third]).toEqual([first, first])
  expect(await cache.get({ maxAge: 60 })).toBe(first)
  expect(underWay).toHaveLength(1)
})

it('counts again when the last count is older than it may be, also one that is under way', async () => {
  const { cache, underWay } = counting()
  const old = cache.get()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const fresh = cache.get({ maxAge: 0 })
  underWay[0]?.resolve({ SUCCESS: 1 })
  expect((await old).counts).toEqual({ SUCCESS: 1 })
  await expect.poll(() => underWay.length).toBe(2)
  underWay[1]?.resolve({ SUCCESS: 2 })

  expect((await fresh).counts).toEqual({ SUCCESS: 2 })
  expect((await cache.get({ maxAge: 60 })).counts).toEqual({ SUCCESS: 2 })
})

it('remembers no failure', async () => {
  const { cache, underWay } = counting()
  const failing = cache.get()
  underWay[0]?.reject(new Error('away'))
  await expect(failing).rejects.toThrow('away')
  const counted = cache.get()
  underWay[1]?.resolve({})

  expect((await counted).counts).toEqual({})
})

it.each([-1, Number.NaN, '5'])('refuses a maxAge of %s', async (maxAge) => {
  await expect(counting().cache.get({ maxAge: maxAge as number })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    option: 'maxAge',
  })
})
