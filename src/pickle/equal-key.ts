/**
 * Another key of a Map or member of a Set that Python would take for the same, as `1`, `true` and `1n`; `undefined` if
 * there is none, or for a key that is no number.
 */
export function equalKey(key: unknown, all: { has(key: unknown): boolean }): unknown {
  if (typeof key === 'boolean') return [Number(key), BigInt(key)].find((number) => all.has(number))
  if (typeof key !== 'bigint') return undefined
  const number = Number(key)
  const isExact = Number.isInteger(number) && BigInt(number) === key
  return isExact && all.has(number) ? number : undefined
}
