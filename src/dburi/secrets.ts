import type { Dburi } from './types.ts'

const MASK = '***'
const SECRET_NAME = /pass|pwd|token|secret|key|credential/i
/** Secrets inside a value: `{"passphrase":"…"}`, `-c app.token=…`, `https://user:password@host`. */
const SECRET_VALUE = /(pass|pwd|token|secret|key|credential)[\w.-]*["']?\s*[=:]|:\/\/[^/]*@/i

/** Keeps passwords out of logs: the properties stay, but printing shows what `withoutSecrets` leaves. */
export function hideSecrets(dburi: Dburi): Dburi {
  const shown = { value: () => withoutSecrets(dburi) }
  return Object.defineProperties(dburi, { toJSON: shown, [Symbol.for('nodejs.util.inspect.custom')]: shown })
}

/** A copy with `***` for the password and for every option that looks like a secret. */
export function withoutSecrets(dburi: Dburi): Dburi {
  const options = Object.entries(dburi.options).map(([key, value]) => [
    key,
    isSecret(key, value) ? MASK : value,
  ])
  return {
    ...dburi,
    password: dburi.password === null ? null : MASK,
    options: Object.fromEntries(options),
  }
}

function isSecret(key: string, value: string | readonly string[]): boolean {
  return SECRET_NAME.test(key) || [value].flat().some((text) => SECRET_VALUE.test(text))
}
