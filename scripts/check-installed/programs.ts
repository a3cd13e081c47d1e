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

/** The same for CommonJS. */
export function requiredProgram(entries: readonly string[]): string {
  return `const entries = ${JSON.stringify(entries)}
console.log(entries.every((entry) => Object.keys(require(entry)).length > 0))
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
export function handleProgram({ drizzle, dialect, dburi, argument = `'${dburi}'` }: Driver): string {
  return `import type { Engine, EngineFor } from 'drizzle-celery'
import { drizzle } from 'drizzle-orm/${drizzle}'
const plain = () => drizzle(${argument})
type Handle = ReturnType<typeof plain>
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false
type Db = EngineFor<'${dburi}'>['db']
export const isEngine: Same<EngineFor<'${dburi}'>, Engine<'${dialect}', Db>> = true
export const isExact: Same<Omit<Db, '$client'>, Omit<Handle, '$client'>> = true
export const isOurs: Same<Db['$client'], any> = false
// The client of a driver that the compiler did not find is any.
export const isAny: Handle extends { $client: infer Client } ? Same<Client, any> : false = false
`
}

/** The programs of a page that open the driver's database by a literal dburi, with `dburi` in its place. */
export function programsFor({ dburi }: Driver, page: string): string[] {
  const [scheme = ''] = /^\w+/.exec(dburi) ?? []
  const literal = new RegExp(`'${scheme}:[^']+'`, 'g')
  const programs = typescriptIn(page).filter(
    (code) => code.includes('models: {') && code.search(literal) >= 0,
  )
  assert.ok(programs.length > 0, `the page has a program for ${scheme}:`)
  return programs.map((code) => code.replaceAll(literal, `'${dburi}'`))
}

/** Programs that begin with their name, `// fastify.ts`, by their names. */
export function namedPrograms(page: string): Map<string, string> {
  const names = (code: string): [string, string][] => {
    const [, name] = /^\/\/ ([\w.-]+\.ts)\b/.exec(code) ?? []
    return name === undefined ? [] : [[name, code]]
  }
  return new Map(typescriptIn(page).flatMap(names))
}

function typescriptIn(page: string): string[] {
  return [...page.matchAll(/^```ts[^\n]*\n(.*?)^```$/gms)].map(([, code = '']) => code)
}

/** What serves without any driver, in the quick start's place. */
export const pickleProgram = `import { decode, encode } from 'drizzle-celery/pickle'
console.log(decode(encode([new Map([['body', 'hello']])])))
`
