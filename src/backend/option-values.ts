import { checkOptions } from '../check-options.ts'
import type { Engine } from '../engine.ts'
import { ENGINE_CHECKS, type EngineOptions } from '../engine-options.ts'
import { invalid, unknown } from '../option-text.ts'
import { zoneOf } from '../pickle/zones.ts'
import { LONGEST_TIMEOUT } from '../pool-options.ts'
import type { TableNames } from './backend-options.ts'
import type { CeleryVersion } from './date-done.ts'
import { type Serializer, serializerOf } from './serializer.ts'

/**
 * The values of a backend's options, each checked at the door. All throw an OptionError with the name and with what was
 * wanted, never with the value.
 */
type Reader<Value> = (name: string, value: unknown) => Value

/** The same, or `null`. */
export function orNull<Value>(name: string, value: unknown, read: Reader<Value>): Value | null {
  return value === null ? null : read(name, value)
}

export function toFlag(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(name, 'true or false')
  return value
}

export function toSeconds(name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= MOST_SECONDS) return value
  throw invalid(name, `a number of seconds from 0 to ${MOST_SECONDS}, or null for never`)
}

/** Three centuries ago is a date in every database; the beginning of the calendar is near beyond. */
const MOST_SECONDS = 10_000_000_000

export function toDeadline(name: string, value: unknown): number {
  if (typeof value === 'number' && value > 0 && value <= LONGEST_TIMEOUT) return value
  throw invalid(name, `a number of seconds above 0, up to ${LONGEST_TIMEOUT}, or null for none`)
}

/** Milliseconds that a timer can wait. */
export function toMilliseconds(name: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0 && value <= LONGEST_TIMEOUT * 1_000) return value
  throw invalid(name, 'a number of milliseconds from 0')
}

export function toRetries(name: string, value: unknown): number {
  if (value === Number.POSITIVE_INFINITY || isWhole(value, 0)) return value
  throw invalid(name, 'a whole number from 0, or Infinity')
}

export function toCacheMax(name: string, value: unknown): number {
  if (!isWhole(value, -1)) throw invalid(name, 'a whole number from 0, -1 for none, or null for all')
  return value
}

function isWhole(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least
}

export function toSerializer(name: string, value: unknown): Serializer {
  if (value === 'json' || value === 'pickle') return serializerOf(value)
  if (isSerializer(value)) return value
  throw invalid(
    name,
    "'json', 'pickle', or for any other an object with name, contentType, encode and decode",
  )
}

function isSerializer(value: unknown): value is Serializer {
  if (typeof value !== 'object' || value === null) return false
  const isNamed = 'name' in value && isText(value.name) && 'contentType' in value && isText(value.contentType)
  return (
    isNamed && 'encode' in value && isFunction(value.encode) && 'decode' in value && isFunction(value.decode)
  )
}

export function toTexts(name: string, value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every(isText)) throw invalid(name, 'an array of names or content types')
  return value
}

export function toTableNames(name: string, value: unknown): TableNames {
  const names: { task?: string; group?: string } = {}
  for (const [table, text] of Object.entries(toRecord(name, value))) {
    if (table !== 'task' && table !== 'group')
      throw unknown(`${name}.${table}`, [`${name}.task`, `${name}.group`])
    if (text === undefined || text === null) continue
    if (!isText(text)) throw invalid(`${name}.${table}`, 'a name')
    names[table] = text
  }
  return names
}

export function toEngineOptions(name: string, value: unknown): EngineOptions {
  const options = toRecord(name, value)
  checkOptions(name, options, ENGINE_CHECKS)
  return options
}

export function toRecord(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw invalid(name, 'an object')
  return value
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function toCallback(name: string, value: unknown): (engine: Engine) => void | Promise<void> {
  if (!isCallback(value)) throw invalid(name, 'a function')
  return value
}

function isCallback(value: unknown): value is (engine: Engine) => void | Promise<void> {
  return typeof value === 'function'
}

/** A zone this runtime knows, as it spells it. */
export function toTimezone(name: string, value: unknown): string {
  if (!isText(value) || zoneOf(value) === null)
    throw invalid(name, 'the name of a time zone, as in Europe/Paris')
  return new Intl.DateTimeFormat('en-US', { timeZone: value }).resolvedOptions().timeZone
}

/** The zone of this process. @throws OptionError where that is none of the database of time zones */
export function localTimezone(): string {
  return toTimezone('timezone', new Intl.DateTimeFormat().resolvedOptions().timeZone)
}

/** A release or a pre-release; without its patch, the first of its kind. */
export function toCeleryVersion(name: string, value: unknown): CeleryVersion {
  const match = isText(value) ? VERSION.exec(value) : null
  if (match === null) throw invalid(name, "a version of Celery, as in '5.4' or '5.6.3'")
  const [, major, minor, patch = 0] = match
  return [Number(major), Number(minor), Number(patch)]
}

const VERSION = /^(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?:\.?(?:a|b|rc|dev|post)\d{1,9})*$/

export function toWire(name: string, value: unknown): 'pickle' | 'serializer' {
  if (value === 'pickle' || value === 'serializer') return value
  throw invalid(name, "'pickle' or 'serializer'")
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}
