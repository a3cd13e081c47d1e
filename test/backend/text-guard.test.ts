import { describe, expect, it } from 'vitest'
import { guardText } from '../../src/backend/texts.ts'
import { StatementError } from '../../src/errors.ts'

describe('guardText', () => {
  it('puts U+FFFD in the place of NUL and of half a surrogate pair', () => {
    for (const column of ['status', 'traceback', 'name', 'worker', 'queue'] as const) {
      expect(guardText(column, 'a\0b\ud83dc\ude00😀')).toBe('a\ufffdb\ufffdc\ufffd😀')
    }
  })

  it('refuses an id with such a character: as another text it would be another id', () => {
    for (const text of ['a\0', '\ud83d']) {
      expect(() => guardText('taskId', text)).toThrow(StatementError)
      expect(() => guardText('groupId', text)).toThrow(expect.objectContaining({ code: 'INVALID_PARAMETER' }))
    }
  })

  it('leaves what is missing missing', () => {
    expect(guardText('traceback', null)).toBeNull()
    expect(guardText('name', undefined)).toBeNull()
    expect(guardText('name', '')).toBe('')
  })

  it('refuses ids and states that are missing or empty, and what is no text', () => {
    for (const column of ['taskId', 'groupId', 'status'] as const) {
      for (const text of ['', null, undefined, 5]) {
        expect(() => guardText(column, text as string)).toThrow(StatementError)
      }
    }
    expect(() => guardText('traceback', ['a'] as never)).toThrow(/Cannot store the traceback: it is no text/)
  })

  it('counts characters as the databases do, a surrogate pair as one', () => {
    for (const column of ['taskId', 'groupId', 'name', 'worker', 'queue'] as const) {
      expect(guardText(column, '😀'.repeat(155))).toBe('😀'.repeat(155))
      expect(() => guardText(column, '😀'.repeat(156))).toThrow(/longer than the 155 characters/)
    }
    expect(guardText('status', 'x'.repeat(50))).toHaveLength(50)
    expect(() => guardText('status', 'x'.repeat(51))).toThrow(/Cannot store the status: .* 50 characters/)
  })

  it('takes a traceback of any length', () => {
    expect(guardText('traceback', 'x'.repeat(1_000_000))).toHaveLength(1_000_000)
  })
})
