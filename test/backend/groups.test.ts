import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { jsonSerializer, pickleSerializer } from '../../src/backend/column.ts'
import { decodeGroup, encodeGroup, type GroupMember } from '../../src/backend/groups.ts'
import { decode, encode, PyObject, PyTuple } from '../../src/pickle/index.ts'
import { describeNeeding } from '../fixtures/servers.ts'
import { askCelery, bytesOf, hexOf, type ReadRows, recordedRows, vector } from './oracle.ts'

const options = { serializer: jsonSerializer }
const asPickle = { wire: 'pickle', serializer: jsonSerializer } as const
const asJson = { wire: 'serializer', serializer: jsonSerializer } as const

function task(id: string, parent: GroupMember | null = null): GroupMember {
  return { id, parent }
}

const members: readonly GroupMember[] = [
  task('a', task('p', task('q'))),
  { id: 'inner', parent: null, children: [task('b')] },
  { id: 'none', parent: null, children: [] },
  task('c', { id: 'header', parent: null, children: [task('d')] }),
]

describe('encodeGroup', () => {
  it('writes the shape that Celery restores with the backend of its reader', () => {
    const groupId = '77777777-7777-7777-7777-777777777777'
    const bytes = encodeGroup(groupId, [task('a'), task('b')], asPickle)

    expect(decode(bytes)).toStrictEqual(decode(vector('group_minimal_no_backend@p5')))
  })

  it('gives a serializer nested arrays', () => {
    const bytes = encodeGroup('g', [task('a', task('p')), task('b')], asJson)

    expect(new TextDecoder().decode(bytes)).toBe(
      '[["g", null], [[["a", [["p", null], null]], null], [["b", null], null]]]',
    )
  })

  it('gives the pickle serializer the object, in protocol 4', () => {
    const bytes = encodeGroup('g', [task('a')], { wire: 'serializer', serializer: pickleSerializer })

    expect(bytes[1]).toBe(4)
    expect(decode(bytes)).toBeInstanceOf(PyObject)
  })
})

describe('decodeGroup', () => {
  it('reads back what was written on either wire', () => {
    for (const wire of [asPickle, asJson]) {
      expect(decodeGroup(encodeGroup('g', members, wire), options)).toEqual({ groupId: 'g', members })
    }
  })

  it.each([
    'group_saved_by_app_GroupResult@p5',
    'group_saved_by_plain_GroupResult@p5',
    'group_nested_and_parent@p5',
    'groupresult_as_tuple@p5',
  ])('reads %s', (name) => {
    const bytes = name.startsWith('groupresult') ? encode(tupleForm()) : vector(name)
    const { groupId, members: found } = decodeGroup(bytes, options)

    expect(groupId).toMatch(/^[\da-f-]{36}$/)
    expect(found.length).toBeGreaterThan(0)
  })

  it('reads the groups that Celery saves, and nothing of their backend', () => {
    const { groups } = recordedRows().json
    const byApp = decodeGroup(bytesOf(groups['by-app'] ?? ''), options)
    const byClass = decodeGroup(bytesOf(groups['by-class'] ?? ''), options)

    expect(byApp).toEqual({ groupId: 'by-app', members: [task('a', task('p')), task('b')] })
    expect(byClass).toEqual({
      groupId: 'by-class',
      members: [task('a'), { id: 'inner', parent: null, children: [task('b')] }],
    })
  })

  it('hands out what is no group, as Celery does, without the backend in it', () => {
    expect(decodeGroup(vector('save_group_arbitrary_dict@p5'), options)).toEqual({
      groupId: null,
      members: [],
      other: { something: 'special' },
    })
    const other = decodeGroup(vector('asyncresult_object@p5'), options)
    expect(other).toMatchObject({ groupId: null, members: [] })
    expect(inspect(other, { depth: 20 })).not.toContain('sqlite:///')
    expect(decodeGroup(null, options)).toEqual({ groupId: null, members: [], other: null })
  })

  it('is not led astray by what only looks like a group', () => {
    const lookalikes = [
      [['g', null], [['a']]],
      [['g', null], 'abc'],
      [[1, null], []],
      [
        ['g', null],
        [[['a', null], null], 5],
      ],
      ['member'],
    ]
    for (const value of lookalikes) {
      expect(decodeGroup(encode(value), options)).toEqual({ groupId: null, members: [], other: value })
    }
  })

  it('comes to an end with a group that holds itself', () => {
    const inside: unknown[] = []
    const group = [['g', null], inside]
    inside.push(group, group)

    expect(decodeGroup(encode(group), options).groupId).toBeNull()
  })

  it('refuses damaged bytes', () => {
    expect(() => decodeGroup(Uint8Array.of(0x80, 5, 0x2e), options)).toThrow(
      expect.objectContaining({ code: 'RESULT_UNREADABLE' }),
    )
  })
})

function tupleForm(): PyTuple {
  const id = '33333333-3333-3333-3333-333333333333'
  return PyTuple.of(PyTuple.of(id, null), [PyTuple.of(PyTuple.of('a', null), null)])
}

describeNeeding('python celery', 'a group of ours in Celery', () => {
  it('is restored with the members, their parents and the backend of the reader', () => {
    const groups = [{ id: 'g', result: hexOf(encodeGroup('g', members, asPickle)) }]
    const told = askCelery<ReadRows>('read', { groups })

    expect(told.groups).toEqual([
      { id: 'g', parent: null, children: members, class: 'GroupResult', hasBackendOfReader: true },
    ])
  })
})
