import fc from 'fast-check'
import { expect, it } from 'vitest'
import { wallClockOf } from '../../src/backend/clock.ts'

const zones = Intl.supportedValuesOf('timeZone')
const HOUR = 3_600_000
/** Moments of the years in which zones have rules, and around the changes of some. */
const moments = fc.oneof(
  fc.integer({ min: Date.parse('1975-01-01'), max: Date.parse('2035-01-01') }),
  fc
    .constantFrom('2024-11-03T09:00Z', '2024-03-10T10:00Z', '2024-10-27T01:00Z', '2024-10-05T15:30Z')
    .chain((change) => fc.integer({ min: -3 * HOUR, max: 3 * HOUR }).map((by) => Date.parse(change) + by)),
)

it('a clock shows what Intl prints, and is read as that instant, or as a later one that shows the same', () => {
  fc.assert(
    fc.property(fc.constantFrom(...zones), moments, (timeZone, moment) => {
      const clock = wallClockOf(timeZone)

      const shown = moment + clock.offsetAt(moment)
      const read = clock.instantOf(shown)

      expect(new Date(shown).toISOString().slice(0, 19).replace('T', ' ')).toBe(printed(moment, timeZone))
      expect(printed(read, timeZone)).toBe(printed(moment, timeZone))
      expect(read).toBeGreaterThanOrEqual(moment)
    }),
    { numRuns: 500 },
  )
})

it('from the least time shown on, all is read as the instant or later, and what was shown before as earlier', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      moments,
      fc.integer({ min: 0, max: 5 * HOUR }),
      (timeZone, moment, by) => {
        const clock = wallClockOf(timeZone)
        const least = clock.leastShown(moment)
        const [later, earlier] = [moment + by, moment - by - 1]

        // Of what is shown twice the later reading counts, on both sides.
        expect(clock.instantOf(least)).toBeGreaterThanOrEqual(moment)
        expect(later + clock.offsetAt(later)).toBeGreaterThanOrEqual(least)
        const shown = earlier + clock.offsetAt(earlier)
        expect(shown >= least).toBe(clock.instantOf(shown) >= moment)
      },
    ),
    { numRuns: 500 },
  )
})

function printed(moment: number, timeZone: string): string {
  return new Date(moment).toLocaleString('sv-SE', { timeZone })
}
