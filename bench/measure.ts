/** One thing to do, over and over. */
export type Operation = () => Promise<unknown>

export interface Comparison {
  /** Ours over the baseline's: how many times its throughput we reach. Median of all rounds. */
  readonly ratio: number
  readonly baselineMicroseconds: number
  readonly oursMicroseconds: number
}

export interface CompareOptions {
  /** How many run at once. @default 1 */
  atOnce?: number
  /** Operations a round: enough for V8 to have compiled what they run when the first round, which does not count, is over. */
  operations: number
  /** Rounds of each, taken in turns so that both meet the same weather. @default 9 */
  rounds?: number
}

/** Runs two operations in turns, and compares their throughput. */
export async function compare(
  baseline: Operation,
  ours: Operation,
  { atOnce = 1, operations, rounds = 9 }: CompareOptions,
): Promise<Comparison> {
  await round(baseline, operations, atOnce)
  await round(ours, operations, atOnce)
  const ratios: number[] = []
  const times: { baseline: number[]; ours: number[] } = { baseline: [], ours: [] }
  for (let turn = 0; turn < rounds; turn++) {
    const before = await round(baseline, operations, atOnce)
    const us = await round(ours, operations, atOnce)
    const after = await round(baseline, operations, atOnce)
    const there = (before + after) / 2
    times.baseline.push(there)
    times.ours.push(us)
    ratios.push(there / us)
  }
  return {
    ratio: median(ratios),
    baselineMicroseconds: median(times.baseline),
    oursMicroseconds: median(times.ours),
  }
}

/** A session that does some work, commits and is closed. */
export function inSession<Db>(
  open: () => Promise<{ readonly db: Db; commit(): Promise<void>; close(): Promise<void> }>,
  work: (db: Db) => PromiseLike<unknown>,
): Operation {
  return async () => {
    const session = await open()
    await work(session.db)
    await session.commit()
    await session.close()
  }
}

/** Microseconds of one operation, on average over a round. */
export async function round(operation: Operation, operations: number, atOnce = 1): Promise<number> {
  const each = Math.ceil(operations / atOnce)
  const worker = async () => {
    for (let done = 0; done < each; done++) await operation()
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: atOnce }, worker))
  return ((performance.now() - startedAt) * 1_000) / (each * atOnce)
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
