/** A text without what a terminal or a page would obey: a task's name may hold escape sequences, or turn letters around. */
export function visible(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/gu, (unit) => {
    const named = unit === '\n' ? '\\n' : unit === '\t' ? '\\t' : undefined
    return named ?? `\\u${(unit.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}

/** The same, of a text of several lines. */
export function visibleLines(text: string): string {
  return text.split(/\r?\n/).map(visible).join('\n')
}
