import { expect, it } from 'vitest'
import { beginText } from '../../../src/adapters/postgresql/begin.ts'

it('says how a transaction begins', () => {
  expect(beginText({})).toBe('begin')
  expect(beginText({ isolationLevel: 'serializable', readOnly: true, deferrable: true })).toBe(
    'begin isolation level serializable read only deferrable',
  )
})

it('refuses an isolation level that is none', () => {
  const options = JSON.parse('{ "isolationLevel": "serializable; drop table t" }')

  expect(() => beginText(options)).toThrow(/isolationLevel must be one of/)
})
