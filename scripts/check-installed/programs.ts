import assert from 'node:assert/strict'
import type { Driver } from './drivers.ts'

/** Imports every entry of the package, and prints whether each gave something. */
export function entriesProgram(entries: readonly string[]): string {
  const imports = entries.map((entry, index) => `import * as entry${index} from '${entry}'`)
  const names = entries.map((_, index) => `entry${index}`)
  return `${imports.join('\n')}
console.log([${names.join(', ')}].every((entry) => Object.keys(entry).length > 0))
`
}

/** Opens what needs drivers that are not installed, and prints what the errors say. TypeScript, and JavaScript as well. */
export function missingProgram(absent: readonly Driver[]): string {
  return `import { MissingDriverError, SessionManager } from 'drizzle-celery'
const manager = new SessionManager()
const dburis = ${JSON.stringify(absent.map(({ dburi }) => dburi))}
for (const dburi of dburis) {
  const error = await manager.getEngine(dburi).catch((error) => error)
  if (!(error instanceof MissingDriverError)) throw error
  console.log(error.code, error.message.split('Run: ')[1])
}
`
}

/** Claims, for the compiler alone, that a literal dburi gives Drizzle's own handle for the driver, but for its `$client`. */
export function handleProgram({ drizzle, dialect, dburi }: Driver): string {
  return `import type { Engine, EngineFor } from 'drizzle-celery'
import type { drizzle } from 'drizzle-orm/${drizzle}'
type Handle = ReturnType<typeof drizzle>
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false
type Db = EngineFor<'${dburi}'>['db']
export const isEngine: Same<EngineFor<'${dburi}'>, Engine<'${dialect}', Db>> = true
export const isExact: Same<Omit<Db, '$client'>, Omit<Handle, '$client'>> = true
export const isOurs: Same<Db['$client'], any> = false
// The client of a driver that the compiler did not find is any.
export const isAny: Same<Handle['$client'], any> = false
`
}

/** The programs of the README's quick start, on the driver's database. The first one prints SUCCESS. */
export function quickStart(readme: string, { dburi }: Driver): string[] {
  const [section = ''] = readme.split(/^## Quick start$/m)[1]?.split(/^## /m) ?? []
  const blocks = [...section.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = '']) => code)
  assert.ok(blocks.length > 0, 'README.md has a quick start')
  return blocks.map((code) => {
    const step = code.replaceAll(/'(?:file|postgresql):[^']*'/g, `'${dburi}'`)
    assert.ok(step.includes(dburi), 'each of its blocks opens a database')
    return step
  })
}

/** What serves without any driver, in the quick start's place. */
export const pickleProgram = `import { decode, encode } from 'drizzle-celery/pickle'
const status: unknown = decode(encode('SUCCESS'))
console.log(status)
`
