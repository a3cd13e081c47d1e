import { causes, MissingDriverError, textOf } from '../errors.ts'

/**
 * What to throw when an optional peer dependency could not be loaded: a MissingDriverError with the install command where it
 * is not installed, any other failure as it is. The `import()` has to stand in the `try` itself: that is how bundlers are
 * told that it may be missing, and they then leave it to run time.
 *
 * ```ts
 * try {
 *   return await import('mysql2')
 * } catch (error) {
 *   throw missingDriver('mysql2', error)
 * }
 * ```
 */
export function missingDriver(packageName: string, error: unknown): unknown {
  return isMissing(error, packageName) ? new MissingDriverError(packageName, { cause: error }) : error
}

/** An `import()` that is made once: loaders of TypeScript make each one slow. */
export function importOnce<Module>(load: () => Promise<Module>): () => Promise<Module> {
  let loaded: Promise<Module> | undefined
  return () => (loaded ??= load())
}

/**
 * Whether a loader found no such package. Loaders agree neither on a code nor on their words, and some throw errors of
 * another realm; but all of them name what they looked for right behind what they say of it. That is the name itself
 * only for the package: a file of it has a path, and another package that it needs its own name.
 */
function isMissing(error: unknown, packageName: string): boolean {
  return causes(error).some((cause) => NOT_FOUND.exec(textOf(cause, 'message') ?? '')?.[1] === packageName)
}

const NOT_FOUND = new RegExp(
  `(?:${[
    'cannot find (?:package|module)', // Node, Bun, Deno, Jest, Vitest, webpack
    'could not (?:find|resolve)(?: package)?', // Vite's stub of an optional peer, Deno
    'failed to (?:load url|resolve import|resolve module specifier)', // Vite, browsers
    'tried to access', // Yarn Plug'n'Play
    '^import', // Deno
  ].join('|')})[ '"\`]+([^\\s'"\`,]+)`,
  'i',
)
