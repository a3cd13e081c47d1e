/**
 * Reads both of PostgreSQL's text forms of bytes: `\x` with hexadecimal digits, and what `bytea_output=escape` makes of
 * them, where a backslash is doubled and what cannot be printed has three octal digits. A database or a role may ask for
 * the latter, and no pooler lets us ask otherwise when we connect.
 */
export function parseBytea(text: string): Buffer {
  if (text.startsWith('\\x')) return Buffer.from(text.slice(2), 'hex')
  const unescaped = text.replaceAll(/\\(?:\\|([0-3][0-7]{2}))/g, (_, octal: string | undefined) =>
    octal === undefined ? '\\' : String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return Buffer.from(unescaped, 'latin1')
}
