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

/**
 * When it was, as people write it: a time ago with its unit, or a date, in UTC unless it says another zone; `undefined` where
 * it is neither, or beyond what databases keep.
 */
export function momentIn(text: string): Date | undefined {
  // A number alone may be meant as a year.
  const ago = /[smhdw]$/.test(text) ? secondsIn(text) : undefined
  const date = ago === undefined ? dateIn(text) : new Date(Date.now() - ago * 1_000)
  const year = date.getUTCFullYear()
  return year >= 1 && year <= 9_999 ? date : undefined
}

function dateIn(text: string): Date {
  const [day = ''] = /^\d{4}-\d\d-\d\d/.exec(text) ?? []
  const time = new Date(day).getTime()
  // JavaScript takes 31 February for 3 March.
  if (Number.isNaN(time) || !new Date(time).toISOString().startsWith(day)) return new Date(Number.NaN)
  const hasZone = /(?:z|[+-]\d\d:?\d\d)$/i.test(text)
  return new Date(text === day || hasZone ? text : `${text.replace(' ', 'T')}Z`)
}
