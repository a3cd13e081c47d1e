import { quotedText } from '../models/names.ts'

/** What the dialects write alike: each gives the few things in which it differs. */

/** Literals that a dialect writes in its own way; undefined for what it cannot write. */
export interface LiteralStyle {
  bytes(hex: string): string
  text(value: string): string | undefined
  /** NaN and the infinities. */
  notFinite?(value: number): string
  date?(value: Date): string
}

/** Writes a value in a driver's form as a literal; undefined for what has none. */
export function literalIn(style: LiteralStyle): (value: unknown) => string | undefined {
  return (value) => {
    if (value === null) return 'null'
    if (value instanceof Uint8Array) return style.bytes(Buffer.from(value).toString('hex'))
    if (value instanceof Date) return style.date?.(value)
    switch (typeof value) {
      case 'number':
        return Number.isFinite(value) ? String(value) : style.notFinite?.(value)
      case 'bigint':
      case 'boolean':
        return String(value)
      case 'string':
        return style.text(value)
      default:
        return undefined
    }
  }
}

/** Standard SQL's text, for servers that end a statement at a NUL character. */
export function textWithoutNul(value: string): string | undefined {
  return value.includes('\0') ? undefined : quotedText(value)
}

/** What reports and errors call something. */
export function dotted(schema: string | undefined, name: string): string {
  return schema === undefined ? name : `${schema}.${name}`
}

/** Whether a default is NULL, which is the same as none. */
export function isNull(text: string): boolean {
  return /^[(\s]*null[)\s]*$/i.test(text)
}

/**
 * What follows the parenthesis that closes the first one; undefined unless the text begins with one that is closed.
 * @param text without what stands in quotes
 */
export function behindParentheses(text: string): string | undefined {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth += 1
    if (text[at] === ')') depth -= 1
    if (depth === 0) return text[at] === ')' ? text.slice(at + 1) : undefined
  }
  return undefined
}
