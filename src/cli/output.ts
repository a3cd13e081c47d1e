import { styleText } from 'node:util'
import { visible } from '../backend/visible.ts'

/** Where a command writes: a terminal, a file or a pipe. */
export interface Sink {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string): unknown
}

export type Style = Parameters<typeof styleText>[0]

/** A column of a table. */
export interface Column<Row> {
  readonly title: string
  readonly of: (row: Row) => string
  readonly style?: ((row: Row) => Style | null) | undefined
  /** May be cut when a line is too long for the terminal. */
  readonly isCut?: boolean | undefined
  /** May be left out then. */
  readonly isSpare?: boolean | undefined
  readonly isRight?: boolean | undefined
}

/** What a person or a program reads. What comes from the database never moves the cursor: see `visible`. */
export class Output {
  readonly isJson: boolean
  readonly isTerminal: boolean
  readonly #sink: Sink
  readonly #isColoured: boolean

  constructor(sink: Sink, { isJson, env }: { readonly isJson: boolean; readonly env: NodeJS.ProcessEnv }) {
    this.#sink = sink
    this.isJson = isJson
    this.isTerminal = sink.isTTY === true
    const isWanted = (env['FORCE_COLOR'] ?? '') !== '' && env['FORCE_COLOR'] !== '0'
    const isRefused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb'
    this.#isColoured = !isJson && !isRefused && (this.isTerminal || isWanted)
  }

  /** Characters that a line has room for. */
  get width(): number {
    return this.isTerminal ? (this.#sink.columns ?? 80) : Number.POSITIVE_INFINITY
  }

  line(text = ''): void {
    this.#sink.write(`${text}\n`)
  }

  /** Sequences of the terminal, and nothing that comes from elsewhere. */
  control(sequence: string): void {
    if (this.isTerminal) this.#sink.write(sequence)
  }

  json(value: unknown): void {
    this.line(JSON.stringify(value))
  }

  styled(style: Style, text: string): string {
    return this.#isColoured ? styleText(style, text) : text
  }

  /** Names and values, one below the other; what has no value is left out. */
  fields(fields: readonly (readonly [name: string, value: string | null | undefined])[]): void {
    const shown = fields.filter(([, value]) => value !== null && value !== undefined && value !== '')
    const width = Math.max(0, ...shown.map(([name]) => name.length))
    for (const [name, value] of shown) {
      const [first = '', ...others] = (value ?? '').split('\n')
      this.line(`${this.styled('dim', name.padEnd(width))}  ${first}`)
      for (const other of others) this.line(`${' '.repeat(width)}  ${other}`)
    }
  }

  table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): void {
    for (const line of this.tableLines(columns, rows)) this.line(line)
  }

  tableLines<Row>(all: readonly Column<Row>[], rows: readonly Row[]): string[] {
    const measured = all.map((column) => {
      const texts = rows.map((row) => visible(column.of(row)))
      return { column, texts, width: Math.max(column.title.length, ...texts.map(widthOf)) }
    })
    const shown = this.#fitting(measured)
    const lineOf = (cellOf: (cell: Measured<Row>) => readonly [text: string, style: Style | null]) =>
      shown
        .map((cell) => {
          const [text, style] = cellOf(cell)
          const whole = padded(text, cell.width, cell.column.isRight === true)
          return style === null ? whole : this.styled(style, whole)
        })
        .join(GAP)
        .trimEnd()
    return [
      lineOf(({ column }) => [column.title, 'bold']),
      ...rows.map((row, at) => lineOf(({ column, texts }) => [texts[at] ?? '', column.style?.(row) ?? null])),
    ]
  }

  /** Leaves out spare columns, the last first, and cuts others, the widest first, until a line fits. */
  #fitting<Row>(measured: readonly Measured<Row>[]): readonly Measured<Row>[] {
    const least = ({ column, width }: Measured<Row>) => (column.isCut ? Math.min(width, NARROWEST) : width)
    const shown = [...measured]
    while (lengthOf(shown.map(least)) > this.width) {
      const spare = shown.findLastIndex(({ column }) => column.isSpare === true)
      if (spare === -1) break
      shown.splice(spare, 1)
    }
    const cut = shown.filter(({ column, width }) => column.isCut && width > NARROWEST)
    while (lengthOf(shown.map(({ width }) => width)) > this.width) {
      const widest = cut.reduce((most, each) => (each.width > most.width ? each : most), cut[0] ?? NONE)
      if (widest.width <= NARROWEST) break
      widest.width--
    }
    return shown
  }
}

interface Measured<Row> {
  readonly column: Column<Row>
  readonly texts: readonly string[]
  width: number
}

const NONE = { width: 0 }

function lengthOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length)
}

const GAP = '  '
const NARROWEST = 8

/** Columns of a terminal: East Asian letters and emojis take two. */
export function widthOf(text: string): number {
  let width = 0
  for (const character of text) width += WIDE.test(character) ? 2 : MARK.test(character) ? 0 : 1
  return width
}

const WIDE =
  /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}/u
const MARK = /\p{Mn}|\p{Me}/u

function padded(text: string, width: number, isRight: boolean): string {
  const fitting = widthOf(text) <= width ? text : cutTo(text, width)
  const padding = ' '.repeat(Math.max(0, width - widthOf(fitting)))
  return isRight ? padding + fitting : fitting + padding
}

function cutTo(text: string, width: number): string {
  let cut = ''
  for (const character of text) {
    if (widthOf(cut + character) > width - 1) break
    cut += character
  }
  return `${cut}…`
}
