import { jsonSerializer } from 'drizzle-celery/backend'
import { decode, encode } from 'drizzle-celery/pickle'
import { compare, median, round } from './measure.ts'
import { report, reportRatio } from './report.ts'

/** About 2 kB as JSON: what a task that lists something returns. */
const RESULT = {
  ok: true,
  page: 3,
  next: 'https://example.org/orders?page=4',
  elapsed: 0.483,
  totals: { net: 1203.5, gross: 1432.165, currency: 'EUR', lines: { open: 4, shipped: 7, returned: null } },
  orders: Array.from({ length: 12 }, (_, index) => ({
    id: 184_467 + index,
    reference: `2024-000${index}`,
    customer: { name: 'Müller & Söhne', city: 'Köln', vip: index % 3 === 0 },
    price: 99.95 + index,
    tags: ['express', 'gift'],
    note: null,
  })),
}

export async function pickle(): Promise<void> {
  const json = JSON.stringify(RESULT)
  const pickled = encode(RESULT)
  report('a typical result as JSON', json.length, 'B')
  report('the same as a pickle', pickled.length, 'B')
  reportRatio(
    'decode, against JSON.parse of the same value',
    await compare(
      async () => JSON.parse(json),
      async () => decode(pickled),
      { operations: 2_000 },
    ),
    0.15,
  )
  reportRatio(
    'encode, against JSON.stringify of the same value',
    await compare(
      async () => JSON.stringify(RESULT),
      async () => encode(RESULT),
      { operations: 2_000 },
    ),
    0,
  )

  const floats = encode(Array.from({ length: 1_110_000 }, (_, index) => index + 0.25))
  const times: number[] = []
  for (let turn = 0; turn < 9; turn++) times.push(await round(async () => decode(floats), 1))
  report('decode of 10 MB of floats', floats.length / median(times), 'MB/s', { least: 50 })

  const escapes = Buffer.concat([Buffer.from('V'), Buffer.alloc(6_000_000, '\\u0061'), Buffer.from('\n.')])
  const escaped = `"${'\\u0061'.repeat(1_000_000)}"`
  reportRatio(
    'decode of 6 MB of escapes, against JSON.parse of the same',
    await compare(
      async () => JSON.parse(escaped),
      async () => decode(escapes),
      { operations: 1 },
    ),
    0.1,
  )
  const objects = `[${'{},'.repeat(300_000)}0]`
  const stored = Buffer.from(objects)
  reportRatio(
    'reading 300,000 objects of JSON, against JSON.parse of the same',
    await compare(
      async () => JSON.parse(objects),
      async () => jsonSerializer.decode(stored),
      { operations: 1 },
    ),
    0.1,
  )
}
