/**
 * An error and what caused it, outermost first. Drizzle and we wrap what a driver throws; five levels are more than
 * both do together, and a chain that bites its own tail ends there.
 */
export function causes(error: unknown): unknown[] {
  const chain: unknown[] = []
  let link = error
  while (link !== undefined && link !== null && chain.length < 5 && !chain.includes(link)) {
    chain.push(link)
    link = typeof link === 'object' && 'cause' in link ? link.cause : undefined
  }
  return chain
}

/** The text that `error` itself, not its cause, carries under a property; undefined when it is no text. */
export function textOf(error: unknown, property: string): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const value: unknown = Reflect.get(error, property)
  return typeof value === 'string' ? value : undefined
}
