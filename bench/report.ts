import type { Comparison } from './measure.ts'

/** A figure that must not be above, or below, what it is to reach. */
export function report(
  what: string,
  value: number,
  unit: string,
  reach?: { most?: number; least?: number },
): void {
  const { most, least } = reach ?? {}
  const wanted = most !== undefined ? `≤ ${most}` : least !== undefined ? `≥ ${least}` : ''
  const isReached = (most === undefined || value <= most) && (least === undefined || value >= least)
  const verdict = wanted === '' ? '' : `  (${wanted}: ${isReached ? 'reached' : 'NOT REACHED'})`
  console.log(`  ${what.padEnd(66)} ${value.toFixed(2).padStart(9)} ${unit}${verdict}`)
}

export function reportRatio(
  what: string,
  { ratio, baselineMicroseconds, oursMicroseconds }: Comparison,
  least?: number,
): void {
  report(what, ratio, '×', least === undefined ? {} : { least })
  console.log(`  ${''.padEnd(66)} ${baselineMicroseconds.toFixed(1)} µs → ${oursMicroseconds.toFixed(1)} µs`)
}
