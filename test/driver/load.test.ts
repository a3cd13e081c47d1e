import { createRequire } from 'node:module'
import { runInNewContext } from 'node:vm'
import { MissingDriverError } from 'drizzle-celery'
import { describe, expect, it } from 'vitest'
import { missingDriver } from '../../src/driver/load.ts'

/** What is thrown when the loader of a driver throws this. */
async function outcome(packageName: string, thrown: unknown): Promise<unknown> {
  return missingDriver(packageName, thrown)
}

/** What a loader throws: its message, and a code where it has one. */
function loaderError(message: string, code?: string): Error {
  return Object.assign(new Error(message), code !== undefined && { code })
}

describe('a driver that no loader finds is missing, as is said by', () => {
  it.each([
    ['Node', "Cannot find package 'mysql2' imported from /app/node_modules/drizzle-celery/dist/a.js"],
    ['require', "Cannot find module 'mysql2'\nRequire stack:\n- /app/main.cjs"],
    ['Jest', "Cannot find module 'mysql2' from 'node_modules/drizzle-celery/dist/adapters/mysql2.js'"],
    ['webpack', "Cannot find module 'mysql2'"],
    ['Bun', 'Cannot find package "mysql2" from "/app/node_modules/drizzle-celery/dist/adapters/mysql2.js"'],
    ['Deno', 'Import "mysql2" not a dependency and not in import map from "file:///app/main.ts"'],
    ['Deno in a package', 'Could not find package \'mysql2\' from referrer "file:///app/main.ts"'],
    ['Vite', 'Failed to load url mysql2 (resolved id: mysql2) in /app/main.ts. Does the file exist?'],
    ['Vite, analysing', 'Failed to resolve import "mysql2" from "src/main.ts". Does the file exist?'],
    ['Vite, bundled', 'Could not resolve "mysql2" imported by "drizzle-celery". Is it installed?'],
    [
      "Yarn's Plug'n'Play",
      "drizzle-celery tried to access mysql2 (a peer dependency) but it isn't provided by your application; this makes" +
        ' the require call ambiguous and unsound.\n\nRequired package: mysql2\nRequired by: drizzle-celery@virtual:1',
    ],
    [
      "Yarn's Plug'n'Play in a bundle",
      "Your application tried to access mysql2, but it isn't declared in your dependencies; this makes the require call" +
        ' ambiguous and unsound.\n\nRequired package: mysql2\nRequired by: /app/',
    ],
  ])('%s', async (_loader, message) => {
    const thrown = loaderError(message)
    const error = await outcome('mysql2', thrown)

    expect(error).toBeInstanceOf(MissingDriverError)
    expect(error).toMatchObject({ code: 'MISSING_DRIVER', packageName: 'mysql2', cause: thrown })
  })

  it('a loader that wraps what another said', async () => {
    const cause = loaderError("Cannot find package '@libsql/client' imported from /app/chunk.js")
    const thrown = new Error('Failed to load external module @libsql/client-0a1b', { cause })

    expect(await outcome('@libsql/client', thrown)).toMatchObject({ code: 'MISSING_DRIVER', cause: thrown })
  })

  it('an error of another realm, as in Jest', async () => {
    const thrown: unknown = runInNewContext(`new Error("Cannot find module 'mysql2' from 'a.js'")`)
    expect(thrown).not.toBeInstanceOf(Error)

    expect(await outcome('mysql2', thrown)).toMatchObject({ code: 'MISSING_DRIVER', cause: thrown })
  })

  it('require itself', async () => {
    const packageName = 'a-driver-of-nobody'
    const require = createRequire(import.meta.url)
    const error = (async () => require(packageName))().catch((thrown: unknown) => {
      throw missingDriver(packageName, thrown)
    })

    await expect(error).rejects.toMatchObject({ code: 'MISSING_DRIVER', packageName })
  })
})

describe('a driver that is there, and fails, is not missing:', () => {
  it.each([
    ['a dependency of it', "Cannot find package 'denque' imported from /app/node_modules/mysql2/index.js"],
    ['its native part', "Cannot find module '@libsql/linux-x64-gnu'\nRequire stack:\n- /app/mysql2/index.js"],
    ['a file of it', "Cannot find module '/app/node_modules/mysql2/lib/gone.js' imported from /app/a.js"],
    ['its main file', "Cannot find package '/app/node_modules/mysql2/package.json' imported from /app/a.js"],
    [
      'a subpath of it',
      "Cannot find module 'mysql2/promise'\nRequire stack:\n- /app/node_modules/mysql2/a.js",
    ],
    [
      'its exports',
      'No "exports" main defined in /app/node_modules/mysql2/package.json imported from /app/a.js',
    ],
    ['a package of a longer name', "Cannot find package 'mysql2-promise' imported from /app/mysql2/a.js"],
    [
      'a dependency of it, to Yarn',
      "mysql2 tried to access denque, but it isn't declared in its dependencies; this makes the require call ambiguous" +
        ' and unsound.\n\nRequired package: denque\nRequired by: mysql2@npm:3.24.6',
    ],
    ['what it runs', 'Unexpected token in mysql2'],
  ])('%s', async (_part, message) => {
    const thrown = loaderError(message, 'ERR_MODULE_NOT_FOUND')

    expect(await outcome('mysql2', thrown)).toBe(thrown)
  })

  it('whatever else it throws', async () => {
    for (const thrown of [undefined, null, 'mysql2', { message: 7 }]) {
      expect(await outcome('mysql2', thrown)).toBe(thrown)
    }
  })
})
