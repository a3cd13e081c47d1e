import { describe, expect, it } from 'vitest'
import { exceptionDict, jsonSerializer, taskErrorOf } from '../../src/backend/column.ts'
import { TaskError } from '../../src/backend/errors.ts'
import type { StoredTask } from '../../src/backend/types.ts'
import { DrizzleCeleryError } from '../../src/errors.ts'
import { decode, PyException, PyTuple } from '../../src/pickle/index.ts'
import { bytesOf, recordedRows, vector } from './oracle.ts'

function dictOf(error: unknown) {
  return exceptionDict(error, jsonSerializer.encode)
}

function metaOf(result: unknown, fields: Partial<StoredTask> = {}): StoredTask {
  return { taskId: 't-1', status: 'FAILURE', result, traceback: null, dateDone: null, ...fields }
}

function wrapperOf(exc_module: string, exc_message: PyTuple) {
  return { exc_type: 'UnpickleableExceptionWrapper', exc_message, exc_module }
}

describe('exceptionDict', () => {
  it.each([
    [new Error('x'), 'Exception'],
    [new TypeError('x'), 'TypeError'],
    [new RangeError('x'), 'ValueError'],
    [new URIError('x'), 'ValueError'],
    [new ReferenceError('x'), 'NameError'],
    [new EvalError('x'), 'RuntimeError'],
    [new SyntaxError('x'), 'SyntaxError'],
    [new AggregateError([], 'x'), 'Exception'],
  ])('%s is caught in Python as %s', (error, name) => {
    expect(dictOf(error)).toEqual({ exc_type: name, exc_message: PyTuple.of('x'), exc_module: 'builtins' })
  })

  it('keeps the name of a class of its own, in the module node', () => {
    class OutOfStock extends RangeError {}
    const renamed = Object.assign(new Error('x'), { name: 'CardRefused' })

    expect(dictOf(new OutOfStock('x'))).toMatchObject({ exc_type: 'OutOfStock', exc_module: 'node' })
    expect(dictOf(renamed)).toMatchObject({ exc_type: 'CardRefused', exc_module: 'node' })
  })

  it('prefers the name a class gives itself: a bundler may have shortened the other', () => {
    class a extends Error {
      override name = 'OutOfStock'
    }

    expect(dictOf(new a('x'))).toMatchObject({ exc_type: 'OutOfStock' })
  })

  it('is a plain Exception for a thrown value that is no error', () => {
    expect(dictOf('boom')).toEqual({
      exc_type: 'Exception',
      exc_message: PyTuple.of('boom'),
      exc_module: 'builtins',
    })
    expect(dictOf(undefined)).toMatchObject({ exc_type: 'Exception', exc_message: new PyTuple() })
  })

  it('has no arguments for an error without a message', () => {
    expect(dictOf(new Error()).exc_message).toStrictEqual(new PyTuple())
  })

  it('passes on the failure of another task as what it was in Python', () => {
    const error = taskErrorOf(metaOf(new PyException('shop', 'OutOfStock', ['sku', 3])))

    expect(dictOf(error)).toEqual({
      exc_type: 'OutOfStock',
      exc_message: PyTuple.of('sku', 3),
      exc_module: 'shop',
    })
  })

  it('survives an argument that can be neither written nor printed', () => {
    const hostile = {
      toJSON() {
        throw new Error('no')
      },
      [Symbol.for('nodejs.util.inspect.custom')]() {
        throw new Error('no')
      },
    }

    expect(dictOf(new PyException('m', 'E', [hostile])).exc_message).toEqual(PyTuple.of('<unprintable>'))
  })

  it('makes a name that Python can make a class of', () => {
    const error = Object.assign(new Error('x'), { name: 'Nul\0\ud800' })

    expect(dictOf(error).exc_type).toBe('Nul\ufffd\ufffd')
  })
})

describe('taskErrorOf', () => {
  it('is the failure of the dict, with the traceback and the id of the task', () => {
    const result = decode(vector('excdict_valueerror@p5'))
    const error = taskErrorOf(metaOf(result, { traceback: 'Traceback (most recent call last): …' }))

    expect(error).toBeInstanceOf(TaskError)
    expect(error).toBeInstanceOf(DrizzleCeleryError)
    expect(error).toMatchObject({
      code: 'TASK_FAILED',
      name: 'TaskError',
      taskId: 't-1',
      excType: 'ValueError',
      excModule: 'builtins',
      excMessage: PyTuple.of('bad', 1, null),
      traceback: 'Traceback (most recent call last): …',
      message: 'The task t-1 failed: ValueError: bad, 1, null',
    })
  })

  it.each([
    ['excdict_list_message@p5', 'ValueError'],
    ['excdict_string_message@p5', 'ValueError'],
    ['excdict_no_module@p5', null],
    ['excdict_nested_qualname@p5', null],
    ['exc_valueerror@p5', 'ValueError'],
    ['exc_TaskRevokedError@p5', 'TaskRevokedError'],
    ['exc_with_instance_dict@p5', null],
  ])('reads %s', (name, excType) => {
    const error = taskErrorOf(metaOf(decode(vector(name))))

    expect(error.excType).not.toBe('Exception')
    if (excType !== null) expect(error.excType).toBe(excType)
  })

  it('reads the failures that Celery writes, in either form', () => {
    const { json, pickle } = recordedRows()

    for (const { tasks } of [json, pickle]) {
      const failures = ['failure', 'custom', 'revoked'].map((id) =>
        taskErrorOf(metaOf(decode(bytesOf(tasks[id]?.result ?? '')))),
      )
      expect(failures.map(({ excModule, excType }) => `${excModule}.${excType}`)).toEqual([
        'builtins.ValueError',
        '__main__.Unpicklable',
        'celery.exceptions.TaskRevokedError',
      ])
      expect(failures.map(({ excMessage }) => excMessage[0])).toEqual(['bad', 'one', 'terminated'])
    }
  })

  it.each([
    [
      'the exception in the wrapper that Celery puts around it',
      PyTuple.of('chair: 3 left'),
      ['chair: 3 left'],
    ],
    ['the same of which JSON has made lists', ['chair: 3 left'], ['chair: 3 left']],
    ['the same without arguments', new PyTuple(), []],
    ['the same whose arguments became a text', "('chair', <a basket>)", ["('chair', <a basket>)"]],
  ])('is %s', (_what, args, excMessage) => {
    const result = wrapperOf('celery.utils.serialization', PyTuple.of('shop', 'OutOfStock', args, 'text'))

    for (const status of ['FAILURE', 'RETRY']) {
      const error = taskErrorOf(metaOf(result, { status }))
      expect(error).toMatchObject({ excType: 'OutOfStock', excModule: 'shop' })
      expect([...error.excMessage]).toStrictEqual(excMessage)
    }
  })

  it('is the wrapper itself where it holds nothing of the kind, or is a class of another module', () => {
    for (const result of [
      wrapperOf('celery.utils.serialization', PyTuple.of('shop')),
      wrapperOf('celery.utils.serialization', PyTuple.of(null, 'OutOfStock', [])),
      wrapperOf('shop', PyTuple.of('shop', 'OutOfStock', [])),
    ]) {
      expect(taskErrorOf(metaOf(result))).toMatchObject({ excType: 'UnpickleableExceptionWrapper' })
    }
  })

  it('takes what is no exception for the argument of one', () => {
    expect(taskErrorOf(metaOf('out of stock'))).toMatchObject({
      excType: 'Exception',
      excMessage: ['out of stock'],
    })
    expect(taskErrorOf(metaOf({ reason: 'none' }))).toMatchObject({ excType: 'Exception' })
    expect(taskErrorOf(metaOf(null)).message).toBe('The task t-1 failed: Exception')
  })

  it('recognises a revoked task of which nothing else is stored', () => {
    expect(taskErrorOf(metaOf(null, { status: 'REVOKED' }))).toMatchObject({ excType: 'TaskRevokedError' })
  })

  it('keeps its message short, whatever the exception holds', () => {
    const error = taskErrorOf(metaOf(new PyException('m', 'E', ['x'.repeat(10_000), { deep: 1 }])))

    expect(error.message.length).toBeLessThan(1_100)
    expect(error.excMessage).toHaveLength(2)
  })
})
