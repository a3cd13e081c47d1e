import { SHOWN_OPTIONS } from './shown-options.ts'
import type { Dburi, Options } from './types.ts'

const MASK = '***'
const SECRET_NAME = /pass|pwd|token|secret|key|credential/i
/**
 * Secrets inside a value: `{"passphrase":"…"}`, `-c app.token=…`, `https://user:password@host`. A name is looked for
 * backwards from the sign behind it: forwards, a long value would be read to its end from each word that might be one.
 */
const SECRET_VALUE = /[=:](?<=(pass|pwd|token|secret|key|credential)[\w.-]*["']?\s*.)|:\/\/[^/]*@/i

/**
 * Keeps passwords out of logs and of copies. Secrets stay properties, but none that is enumerated, so that spreading,
 * `Object.assign` and `structuredClone` leave them out; printing shows what `withoutSecrets` leaves.
 */
export function hideSecrets(dburi: Dburi): Dburi {
  const options: Options = Object.defineProperties(
    {},
    Object.fromEntries(
      optionsOf(dburi).map(([name, value]) => [name, { value, enumerable: !isSecret(name, value) }]),
    ),
  )
  const shown = { value: () => withoutSecrets(hidden) }
  const hidden: Dburi = Object.defineProperties(
    { ...dburi, options },
    {
      password: { value: dburi.password, enumerable: dburi.password === null },
      toJSON: shown,
      [Symbol.for('nodejs.util.inspect.custom')]: shown,
    },
  )
  return hidden
}

/** All options of a dburi, the secret ones too. */
export function optionsOf({
  options,
}: Pick<Dburi, 'options'>): [name: string, value: string | readonly string[]][] {
  return Object.getOwnPropertyNames(options).flatMap((name) => {
    const value = options[name]
    return value === undefined ? [] : [[name, value]]
  })
}

/** The same dburi with other options. */
export function withOptions(dburi: Dburi, options: Options): Dburi {
  return hideSecrets({ ...dburi, password: dburi.password, options })
}

/** A copy with `***` for the password, for every option that looks like a secret, and for every one that nobody knows. */
export function withoutSecrets(dburi: Dburi): Dburi {
  const options = optionsOf(dburi).map(([name, value]) => [
    name,
    SHOWN_OPTIONS.has(name) && !isSecret(name, value) ? value : MASK,
  ])
  return {
    ...dburi,
    password: dburi.password === null ? null : MASK,
    options: Object.fromEntries(options),
  }
}

function isSecret(name: string, value: string | readonly string[]): boolean {
  return SECRET_NAME.test(name) || [value].flat().some((text) => SECRET_VALUE.test(text))
}
