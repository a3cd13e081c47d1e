import type { SQL, SQLChunk, SQLWrapper } from 'drizzle-orm'

type Drizzle = typeof import('drizzle-orm')

/** What Drizzle's dialects know of their databases, as Drizzle 0.45 hands it to `SQL.toQuery`. */
export interface TextRules {
  readonly casing: { getColumnCasing(column: object): string }
  escapeName(name: string): string
  escapeParam(at: number, value: unknown): string
  escapeString(text: string): string
  /** PostgreSQL: what some drivers are told of a parameter. It asks for nothing but the class of the encoder. */
  prepareTyping?(encoder: object): string
}

/** A query as Drizzle 0.45 gives it to its session. */
export interface Query {
  sql: string
  params: unknown[]
  /** Missing where there are no parameters. */
  typings?: string[]
}

/** Writes what an `SQL` of Drizzle says, and knows its chunks. */
export interface QueryTexts {
  /** Equal to what `sql.toQuery(rules)` of Drizzle 0.45 returns. */
  textOf(sql: SQL, rules: TextRules): Query
  /** A query of this frame. Its text before the condition is written again only where other rules write it. */
  framed(frame: Frame, where: SQLChunk): SQL
  isColumn(value: unknown): value is ColumnParts
  isTable(value: unknown): value is TableParts
}

/** What selects that differ in their condition only have in common. */
export interface Frame {
  /** The chunks of such a query. */
  readonly chunks: readonly SQLChunk[]
  /** The tables among them: Drizzle notes those of each query. */
  readonly tables: readonly SQLChunk[]
  /** Where the condition stands among the chunks; those behind it are empty. */
  readonly whereAt: number
  /** The text before the condition, as these rules write it. It has no parameters. */
  readonly head: string
  readonly rules: TextRules
}

type Write = (text: Text, chunk: unknown, inline: boolean) => void

// What Drizzle 0.45 has of its chunks; its types leave most of it out.

interface SqlParts {
  readonly queryChunks: readonly unknown[]
  readonly shouldInlineParams: boolean
  mapInlineParam(value: unknown, rules: TextRules): string
}

export interface ColumnParts extends SQLWrapper {
  readonly table: TableParts
  readonly columnType: string
}

interface ParamParts {
  readonly value: unknown
  readonly encoder: { mapToDriverValue(value: unknown): unknown }
}

interface SubqueryParts {
  readonly _: { readonly sql: unknown; readonly alias: string; readonly isWith: boolean }
}

interface WrapperParts {
  getSQL(): unknown
  shouldOmitSQLParens?(): boolean
}

interface EnumParts {
  readonly enumName: string
  readonly schema?: string
}

export const TABLE_NAME: unique symbol = Symbol.for('drizzle:Name')
export const SCHEMA: unique symbol = Symbol.for('drizzle:Schema')
export const IS_ALIAS: unique symbol = Symbol.for('drizzle:IsAlias')
export const BASE_NAME: unique symbol = Symbol.for('drizzle:BaseName')
const VIEW: unique symbol = Symbol.for('drizzle:ViewBaseConfig')
const IS_ENUM: unique symbol = Symbol.for('drizzle:isPgEnum')

export interface TableParts {
  readonly [TABLE_NAME]: string
  readonly [BASE_NAME]: string
  readonly [SCHEMA]: string | undefined
  readonly [IS_ALIAS]: boolean
}

interface ViewParts {
  readonly [VIEW]: { readonly name: string; readonly schema: string | undefined; readonly isAlias: boolean }
}

/**
 * Builds the texts of queries as Drizzle 0.45 does, to the letter, in a tenth of the time: Drizzle asks each chunk for up to
 * ten classes by walking their chains, and joins an object with an array of parameters for each. Here the answer is asked
 * once for each class of chunks, by Drizzle's own `is`, and all is written into one string. Drizzle 1.0 does the like itself.
 */
export function queryTexts(drizzle: Drizzle): QueryTexts {
  const { entityKind, is, SQL: SqlClass, Placeholder } = drizzle

  /** By the prototype, which is all that `is` asks of a chunk. A new one is rare, and goes with its class. */
  const writes = new WeakMap<object, Write>()
  const typings = new WeakMap<object, string>()

  /** @param write given `Parts` of what `is` an instance of the class */
  function chunk<Parts>(
    type: Parameters<typeof is>[1],
    write: (text: Text, chunk: Parts, inline: boolean) => void,
  ) {
    return { type, write: write as Write }
  }

  const nested = chunk<SqlParts>(SqlClass, (text, { queryChunks, shouldInlineParams }, inline) => {
    writeAll(text, queryChunks, inline || shouldInlineParams)
  })

  class FramedSql extends SqlClass {
    static readonly [entityKind] = 'DrizzleCeleryFramed'
    readonly frame: Frame

    constructor(frame: Frame, where: SQLChunk) {
      // Drizzle looks for tables in what it is given here; there are no others.
      const chunks = [...frame.tables]
      super(chunks)
      chunks.length = 0
      for (const each of frame.chunks) chunks.push(each)
      chunks[frame.whereAt] = where
      this.frame = frame
    }
  }

  const framed = chunk<SqlParts & { readonly frame: Frame }>(FramedSql, (text, query, inline) => {
    const { frame, queryChunks } = query
    // Something was appended to it, or another dialect is asked for it.
    if (queryChunks.length !== frame.chunks.length || text.rules !== frame.rules)
      nested.write(text, query, inline)
    else {
      text.sql += frame.head
      writeChunk(text, queryChunks[frame.whereAt], inline || query.shouldInlineParams)
    }
  })

  const table = chunk<TableParts>(drizzle.Table, (text, table) => {
    text.qualified(table[TABLE_NAME], table[IS_ALIAS] ? undefined : table[SCHEMA])
  })

  const column = chunk<ColumnParts>(drizzle.Column, (text, column) => {
    const { rules } = text
    const name = rules.escapeName(rules.casing.getColumnCasing(column))
    const { table } = column
    const schema = table[SCHEMA]
    const tableName = rules.escapeName(table[TABLE_NAME])
    text.sql +=
      table[IS_ALIAS] || schema === undefined
        ? `${tableName}.${name}`
        : `${rules.escapeName(schema)}.${tableName}.${name}`
  })

  const placeholder = chunk<object>(Placeholder, (text, placeholder) => text.bind(placeholder, 'none'))

  /** In the order in which Drizzle asks. */
  const chunks = [
    chunk<{ value: readonly string[] }>(drizzle.StringChunk, (text, { value }) => {
      const [only] = value
      // What is no text, such as the undefined of a program without types, is nothing to `join`.
      text.sql += value.length === 1 && typeof only === 'string' ? only : value.join('')
    }),
    chunk<{ value: string }>(drizzle.Name, (text, { value }) => {
      text.sql += text.rules.escapeName(value)
    }),
    framed,
    nested,
    table,
    column,
    chunk<ViewParts>(drizzle.View, (text, view) => {
      const { name, schema, isAlias } = view[VIEW]
      text.qualified(name, isAlias ? undefined : schema)
    }),
    chunk<ParamParts>(drizzle.Param, (text, param, inline) => {
      const { value, encoder } = param
      if (writeOf(value) === placeholder.write) {
        text.bind(param, 'none')
        return
      }
      const mapped = value === null ? null : encoder.mapToDriverValue(value)
      const write = writeOf(mapped)
      if (write === nested.write || write === framed.write) write(text, mapped, inline)
      else if (inline) text.inline(mapped)
      else text.bind(mapped, typingOf(encoder, text.rules))
    }),
    placeholder,
    chunk<{ fieldAlias: string | undefined }>(SqlClass.Aliased, (text, aliased, inline) => {
      const { fieldAlias } = aliased
      if (fieldAlias === undefined) writeOther(text, aliased, inline)
      else text.sql += text.rules.escapeName(fieldAlias)
    }),
    chunk<SubqueryParts>(drizzle.Subquery, (text, subquery, inline) => {
      const { isWith, sql, alias } = subquery._
      if (!isWith) {
        text.sql += '('
        writeChunk(text, sql, inline)
        text.sql += ') '
      }
      text.sql += text.rules.escapeName(alias)
    }),
  ]

  function writeOf(value: unknown): Write {
    if (typeof value !== 'object' || value === null) return writeOther
    const prototype: object = Object.getPrototypeOf(value)
    const known = writes.get(prototype)
    if (known !== undefined) return known
    const write = chunks.find(({ type }) => is(value, type))?.write ?? writeOther
    writes.set(prototype, write)
    return write
  }

  function writeChunk(text: Text, chunk: unknown, inline: boolean): void {
    if (chunk !== undefined) writeOf(chunk)(text, chunk, inline)
  }

  function writeAll(text: Text, chunks: readonly unknown[], inline: boolean): void {
    for (let at = 0; at < chunks.length; at++) writeChunk(text, chunks[at], inline)
  }

  /** A list, what can say itself as SQL, or a value. */
  function writeOther(text: Text, chunk: unknown, inline: boolean): void {
    if (Array.isArray(chunk)) writeList(text, chunk, inline)
    else if (isEnum(chunk)) text.qualified(chunk.enumName, chunk.schema || undefined)
    else if (isWrapper(chunk)) {
      const isBare = chunk.shouldOmitSQLParens?.()
      if (!isBare) text.sql += '('
      writeChunk(text, chunk.getSQL(), inline)
      if (!isBare) text.sql += ')'
    } else if (inline) text.inline(chunk)
    else text.bind(chunk, 'none')
  }

  function writeList(text: Text, list: readonly unknown[], inline: boolean): void {
    text.sql += '('
    for (let at = 0; at < list.length; at++) {
      if (at > 0) text.sql += ', '
      writeChunk(text, list[at], inline)
    }
    text.sql += ')'
  }

  function typingOf(encoder: object, rules: TextRules): string {
    if (rules.prepareTyping === undefined) return 'none'
    const prototype: object = Object.getPrototypeOf(encoder)
    const known = typings.get(prototype)
    if (known !== undefined) return known
    const typing = rules.prepareTyping(encoder)
    typings.set(prototype, typing)
    return typing
  }

  return {
    textOf(sql, rules) {
      // Of its own class it is what its types say, and more.
      const root = sql as unknown as SqlParts
      const text = new Text(root, rules)
      writeChunk(text, root, root.shouldInlineParams)
      return text.query()
    },
    framed: (frame, where) => new FramedSql(frame, where),
    isColumn: (value): value is ColumnParts => writeOf(value) === column.write,
    isTable: (value): value is TableParts => writeOf(value) === table.write,
  }
}

/** A text that is being written. */
class Text {
  sql = ''
  readonly rules: TextRules
  readonly #root: SqlParts
  readonly #params: unknown[] = []
  readonly #typings: string[] = []

  constructor(root: SqlParts, rules: TextRules) {
    this.#root = root
    this.rules = rules
  }

  qualified(name: string, schema: string | undefined): void {
    const { rules } = this
    const prefix = schema === undefined ? '' : `${rules.escapeName(schema)}.`
    this.sql += prefix + rules.escapeName(name)
  }

  bind(param: unknown, typing: string): void {
    this.sql += this.rules.escapeParam(this.#params.length, param)
    this.#params.push(param)
    this.#typings.push(typing)
  }

  inline(value: unknown): void {
    this.sql += this.#root.mapInlineParam(value, this.rules)
  }

  query(): Query {
    const { sql } = this
    const params = this.#params
    const typings = this.#typings
    return typings.length === 0 ? { sql, params } : { sql, params, typings }
  }
}

function isEnum(chunk: unknown): chunk is EnumParts {
  return typeof chunk === 'function' && Reflect.get(chunk, IS_ENUM) === true
}

function isWrapper(chunk: unknown): chunk is WrapperParts {
  const mayBe = (typeof chunk === 'object' && chunk !== null) || typeof chunk === 'function'
  return mayBe && 'getSQL' in chunk && typeof chunk.getSQL === 'function'
}
