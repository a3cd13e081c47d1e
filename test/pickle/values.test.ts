import { inspect } from 'node:util'
import {
  decode,
  encode,
  PyDate,
  PyDateTime,
  PyDecimal,
  PyException,
  PyObject,
  PyTime,
  PyTimeDelta,
  PyTimeZone,
  PyTuple,
} from 'drizzle-celery/pickle'
import { describe, expect, it } from 'vitest'
import { assemble } from '../fixtures/pickle/assemble.ts'

const stamp = { year: 2024, month: 7, day: 2, hour: 3, minute: 4, second: 5, microsecond: 678_901 }
const paris = new PyTimeZone(null, 'Europe/Paris')

describe('PyDateTime', () => {
  it('is printed as in Python, to the microsecond', () => {
    const offset = new PyTimeZone(new PyTimeDelta({ seconds: -19_800 }))

    expect(String(new PyDateTime(stamp))).toBe('2024-07-02T03:04:05.678901')
    expect(String(new PyDateTime({ ...stamp, microsecond: 0, tzinfo: PyTimeZone.utc }))).toBe(
      '2024-07-02T03:04:05+00:00',
    )
    expect(JSON.stringify(new PyDateTime({ ...stamp, tzinfo: offset }))).toBe(
      '"2024-07-02T03:04:05.678901-05:30"',
    )
    expect(String(new PyDateTime({ ...stamp, tzinfo: paris }))).toBe('2024-07-02T03:04:05.678901+02:00')
  })

  it('is a moment: naive ones are in UTC', () => {
    expect(new PyDateTime(stamp).toDate().toISOString()).toBe('2024-07-02T03:04:05.678Z')
    expect(new PyDateTime({ ...stamp, tzinfo: paris }).toDate().toISOString()).toBe(
      '2024-07-02T01:04:05.678Z',
    )
    expect(new PyDateTime({ year: 1, month: 1, day: 1 }).toDate().toISOString()).toBe(
      '0001-01-01T00:00:00.000Z',
    )
  })

  it('knows which of two equal clocks is meant, as PEP 495 has it', () => {
    const twice = { year: 2024, month: 10, day: 27, hour: 2, minute: 30, tzinfo: paris }
    const never = { year: 2024, month: 3, day: 31, hour: 2, minute: 30, tzinfo: paris }

    expect(String(new PyDateTime({ ...twice, fold: 0 }))).toBe('2024-10-27T02:30:00+02:00')
    expect(String(new PyDateTime({ ...twice, fold: 1 }))).toBe('2024-10-27T02:30:00+01:00')
    expect(String(new PyDateTime({ ...never, fold: 0 }))).toBe('2024-03-31T02:30:00+01:00')
    expect(String(new PyDateTime({ ...never, fold: 1 }))).toBe('2024-03-31T02:30:00+02:00')
  })

  it('keeps fold since protocol 4', () => {
    const folded = new PyDateTime({ ...stamp, fold: 1 })
    const time = new PyTime({ hour: 1, fold: 1 })

    expect(decode(encode([folded, time], { protocol: 4 }))).toEqual([folded, time])
    expect(decode(encode(folded, { protocol: 3 }))).toEqual(new PyDateTime(stamp))
  })

  it('has no offset and no moment if its zone is unknown', () => {
    const unknown = new PyDateTime({ ...stamp, tzinfo: new PyTimeZone(null, 'Mars/Olympus') })
    const foreign = new PyDateTime({
      ...stamp,
      tzinfo: new PyObject({ kind: 'new', module: 'app', name: 'Zone' }),
    })

    for (const value of [unknown, foreign]) {
      expect(String(value)).toBe('2024-07-02T03:04:05.678901')
      expect(value.toDate().getTime()).toBeNaN()
      expect(decode(encode(value))).toEqual(value)
    }
  })

  it('rejects dates and times that do not exist', () => {
    expect(() => new PyDateTime({ ...stamp, month: 2, day: 30 })).toThrow(RangeError)
    expect(() => new PyDateTime({ ...stamp, hour: 24 })).toThrow(RangeError)
    expect(() => new PyDate({ year: 2023, month: 2, day: 29 })).toThrow(RangeError)
    expect(() => new PyTime({ microsecond: 1e6 })).toThrow(RangeError)
  })
})

describe('zones of pytz, dateutil and zoneinfo', () => {
  const packed = assemble('C\x0a\x07\xe8\x07\x02\x03\x04\x05\x00\x00\x00')
  const read = (zone: string) => decode(assemble('\x80\x03cdatetime\ndatetime\n', packed, zone, '\x86R.'))

  it.each([
    ['pytz.utc', 'cpytz\n_UTC\n)R', '2024-07-02T03:04:05+00:00'],
    ['pytz.FixedOffset', 'cpytz\nFixedOffset\nK\x5a\x85R', '2024-07-02T03:04:05+01:30'],
    [
      'a zone of pytz',
      'cpytz\n_p\n(X\x0c\x00\x00\x00Europe/ParisM\x20\x1cM\x10\x0eX\x04\x00\x00\x00CESTtR',
      '2024-07-02T03:04:05+02:00',
    ],
    ['dateutil.tz.tzutc', 'cdateutil.tz.tz\ntzutc\n)\x81', '2024-07-02T03:04:05+00:00'],
    [
      'dateutil.tz.tzoffset',
      'cdateutil.tz.tz\ntzoffset\n)\x81}(Vx\nNV_offset\ncdatetime\ntimedelta\nK\x00M\x10\x0eK\x00\x87Rub',
      '2024-07-02T03:04:05+01:00',
    ],
    [
      'dateutil.tz.tzfile',
      'cdateutil.tz.tz\ntzfile\nNV/usr/share/zoneinfo/Europe/Paris\n\x86R',
      '2024-07-02T03:04:05+02:00',
    ],
    [
      'zoneinfo.ZoneInfo',
      'cbuiltins\ngetattr\nczoneinfo\nZoneInfo\nV_unpickle\n\x86RVEurope/Paris\nK\x01\x86R',
      '2024-07-02T03:04:05+02:00',
    ],
    [
      'zoneinfo.ZoneInfo.no_cache',
      'cbuiltins\ngetattr\nczoneinfo\nZoneInfo\nV_unpickle\n\x86RVEurope/Paris\nK\x00\x86R',
      '2024-07-02T03:04:05+02:00',
    ],
    [
      'backports.zoneinfo.ZoneInfo',
      'cbuiltins\ngetattr\ncbackports.zoneinfo\nZoneInfo\nV_unpickle\n\x86RVEurope/Paris\nK\x01\x86R',
      '2024-07-02T03:04:05+02:00',
    ],
  ])('%s', (_, zone, expected) => {
    const value = read(zone)

    expect(String(value)).toBe(expected)
    expect(decode(encode(value))).toEqual(value)
  })
})

it('PyDate and PyTime are printed as in Python', () => {
  expect(
    JSON.stringify([new PyDate({ year: 9, month: 2, day: 1 }), new PyTime({ hour: 1, microsecond: 4 })]),
  ).toBe('["0009-02-01","01:00:00.000004"]')
  expect(String(new PyTime({ tzinfo: PyTimeZone.utc }))).toBe('00:00:00+00:00')
  expect(new PyDate({ year: 2024, month: 2, day: 29 }).toDate().toISOString()).toBe(
    '2024-02-29T00:00:00.000Z',
  )
})

it('a PyTimeDelta is normalised as in Python', () => {
  const delta = new PyTimeDelta({ seconds: -1, microseconds: 5 })

  expect({ ...delta }).toEqual({ days: -1, seconds: 86_399, microseconds: 5 })
  expect(String(delta)).toBe('-1 day, 23:59:59.000005')
  expect(delta.toSeconds()).toBeCloseTo(-0.999995, 9)
  expect(String(new PyTimeDelta({ days: 2, seconds: 61 }))).toBe('2 days, 0:01:01')
  expect(() => new PyTimeDelta({ days: 1e9 })).toThrow(RangeError)
})

it('a PyTimeZone is printed as its name, or its offset', () => {
  expect(String(paris)).toBe('Europe/Paris')
  expect(String(PyTimeZone.utc)).toBe('UTC+00:00')
})

it('a PyDecimal is its exact text', () => {
  expect(JSON.stringify(new PyDecimal('1.50'))).toBe('"1.50"')
  expect(new PyDecimal('-1.5E+3').toNumber()).toBe(-1_500)
  expect(new PyDecimal('-Infinity').toNumber()).toBe(Number.NEGATIVE_INFINITY)
  expect(new PyDecimal('sNaN').toNumber()).toBeNaN()
  expect(() => new PyDecimal('1,5')).toThrow(RangeError)
})

it('a PyException is printed as the last line of a traceback', () => {
  expect(String(new PyException('builtins', 'ValueError', ['bad', 1]))).toBe('ValueError: bad, 1')
  expect(String(new PyException('builtins', 'RuntimeError'))).toBe('RuntimeError')
  expect(String(new PyException('app', 'AppError', [{}]))).toBe('AppError: …')
})

it('all are plain data for JSON, inspect and structuredClone', () => {
  const object = new PyObject({ kind: 'call', module: 'a', name: 'B', args: PyTuple.of(1) })
  const values = [
    object,
    new PyException('a', 'E', ['x']),
    new PyDateTime({ ...stamp, tzinfo: paris }),
    PyTuple.of(1),
  ]

  expect(structuredClone(values)).toHaveLength(4)
  expect(inspect(values)).toContain('PyDateTime')
  expect(JSON.parse(JSON.stringify(values))).toMatchObject([
    { module: 'a', name: 'B', args: [1] },
    { module: 'a', type: 'E', args: ['x'] },
    '2024-07-02T03:04:05.678901+02:00',
    [1],
  ])
})
