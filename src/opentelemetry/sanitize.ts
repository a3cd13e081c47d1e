import type { Dialect } from '../dburi/types.ts'

/** Comments, what is in quotes, and numbers that are not part of a name or of a placeholder. */
const LITERALS: Readonly<Record<Dialect, RegExp>> = {
  postgresql:
    /(?<comment>--[^\n\r]*|\/\*[\s\S]*?\*\/)|(?<name>"(?:[^"]|"")*")|\b[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|\$(?<tag>(?:[A-Za-z_]\w*)?)\$[\s\S]*?\$\k<tag>\$|(?<![\w$."])(?:0x[\da-f]+|\d+(?:\.\d*)?(?:e[-+]?\d+)?)\b/gi,
  mysql:
    /(?<comment>--\s[^\n\r]*|#[^\n\r]*|\/\*[\s\S]*?\*\/)|(?<name>`(?:[^`]|``)*`)|"(?:[^"\\]|\\[\s\S]|"")*"|'(?:[^'\\]|\\[\s\S]|'')*'|(?<![\w$.`@])(?:0x[\da-f]+|\d+(?:\.\d*)?(?:e[-+]?\d+)?)\b/gi,
  sqlite:
    /(?<comment>--[^\n\r]*|\/\*[\s\S]*?\*\/)|(?<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])|'(?:[^']|'')*'|(?<![\w$.?:@"])(?:0x[\da-f]+|\d+(?:\.\d*)?(?:e[-+]?\d+)?)\b/gi,
}

/**
 * The text of a statement with `?` for each literal that was written into it, and without its comments; `null` where that
 * is not sure. Placeholders and names stay.
 */
export function sanitized(text: string, dialect: Dialect): string | null {
  let isSure = true
  const cleaned = text.replace(LITERALS[dialect], (found: string, ...more: unknown[]) => {
    const groups = more.at(-1)
    if (typeof groups !== 'object' || groups === null) return '?'
    if (Reflect.get(groups, 'comment') !== undefined) return ' '
    return Reflect.get(groups, 'name') === undefined ? '?' : found
  })
  // A quote without its other half: what was taken for outside may be inside.
  const withoutNames = cleaned.replace(/"(?:[^"]|"")*"|`(?:[^`]|``)*`/g, '')
  if (/['"`]|\$\w*\$|\/\*/.test(withoutNames)) isSure = false
  return isSure ? cleaned.trim() : null
}
