import { expect, it } from 'vitest'
import { parseArray } from '../../../src/adapters/postgresql/values.ts'

it.each([
  ['{}', []],
  ['{1,2,NULL}', [1, 2, null]],
  [
    '{{1,2},{3,4}}',
    [
      [1, 2],
      [3, 4],
    ],
  ],
  ['[0:1]={5,6}', [5, 6]],
])('reads %s', (text, expected) => {
  expect(parseArray(text, Number)).toEqual(expected)
})

it.each([
  ['{a,"b c","d,e","NULL",NULL}', ['a', 'b c', 'd,e', 'NULL', null]],
  [String.raw`{"a \"b\" \\ c","{}"}`, ['a "b" \\ c', '{}']],
  ['{""}', ['']],
])('reads the texts in %s', (text, expected) => {
  expect(parseArray(text, String)).toEqual(expected)
})

it('ends on a text that is cut off', () => {
  expect(parseArray('{1,2', Number)).toEqual([1, 2])
  expect(parseArray('{"a,b', String)).toEqual(['a,b'])
})
