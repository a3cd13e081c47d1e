import { describe, expect, it } from 'vitest'
import { backoffMilliseconds, retry } from '../src/retry.ts'

const quick = { retries: 3, base: 0, max: 0, retryable: () => true }

describe('backoffMilliseconds', () => {
  it.each([...[10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].entries()])(
    'is bounded as in Celery: failure %i by %i ms',
    (failures, bound) => {
      const bounds = { base: 10, max: 1000 }

      expect(backoffMilliseconds(failures, bounds, () => 0)).toBe(0)
      expect(backoffMilliseconds(failures, bounds, () => 1 - Number.EPSILON)).toBe(bound)
    },
  )

  it('is spread evenly over whole milliseconds, both ends included', () => {
    const seen = new Set(Array.from({ length: 5000 }, () => backoffMilliseconds(0, { base: 10, max: 1000 })))

    expect([...seen].sort((one, other) => one - other)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  it('does not wait at all from a base of nothing', () => {
    expect(backoffMilliseconds(9, { base: 0, max: 1000 })).toBe(0)
  })
})

describe('retry', () => {
  function failing(times: number): { attempt: () => Promise<number>; attempts: () => number } {
    let attempts = 0
    return {
      attempt: async () => {
        attempts += 1
        if (attempts <= times) throw new Error(`failure ${attempts}`)
        return attempts
      },
      attempts: () => attempts,
    }
  }

  it('returns what the first attempt to succeed returns', async () => {
    expect(await retry(failing(3).attempt, quick)).toBe(4)
  })

  it('throws the last error when the retries are used up', async () => {
    await expect(retry(failing(4).attempt, quick)).rejects.toThrow('failure 4')
  })

  it('throws at once what is not retryable', async () => {
    const { attempt, attempts } = failing(4)

    await expect(retry(attempt, { ...quick, retryable: () => false })).rejects.toThrow('failure 1')
    expect(attempts()).toBe(1)
  })

  it('ends its waiting with the reason of its signal', async () => {
    const { attempt, attempts } = failing(4)
    const controller = new AbortController()
    const waiting = retry(attempt, { ...quick, base: 1e6, max: 1e6, signal: controller.signal })

    setTimeout(() => controller.abort(new Error('enough')), 10)

    await expect(waiting).rejects.toThrow('enough')
    expect(attempts()).toBe(1)
    await expect(retry(attempt, { ...quick, signal: controller.signal })).rejects.toThrow('enough')
    expect(attempts()).toBe(1)
  })
})
