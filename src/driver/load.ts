import { causes, MissingDriverError, textOf } from '../errors.ts'

/**
 * Loads an optional peer dependency.
 * @throws MissingDriverError with the install command; any other failure passes through untouched
 */
export async function importDriver<Module>(
  packageName: string,
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load()
  } catch (error) {
    throw isMissing(error, packageName) ? new MissingDriverError(packageName, { cause: error }) : error
  }
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
