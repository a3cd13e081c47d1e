import { MissingDriverError } from './errors.ts'

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

function isMissing(error: unknown, packageName: string): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    error.code === 'ERR_MODULE_NOT_FOUND' &&
    error.message.includes(`'${packageName}'`)
  )
}
