/** A property's name, or an index. */
export type Step = string | number

/** `$.rows[3].callback`, from the value that was given. */
export function formatPath(steps: readonly Step[]): string {
  return `$${steps.map(format).join('')}`
}

function format(step: Step): string {
  if (typeof step === 'number') return `[${step}]`
  return /^[\p{L}_$][\w$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`
}
