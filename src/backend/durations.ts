const UNITS: ReadonlyMap<string, number> = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3_600],
  ['d', 86_400],
  ['w', 604_800],
])

/** The seconds of a time as people write it: `45`, `45s`, `1.5h`, `7d`; `undefined` where it is none. */
export function secondsIn(text: string): number | undefined {
  const [, digits, unit = 's'] = /^(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])?$/.exec(text) ?? []
  return digits === undefined ? undefined : Number(digits) * (UNITS.get(unit) ?? 1)
}
