import { quotedText } from '../../models/names.ts'
import type { Changes } from '../diff.ts'
import type { Found } from './catalogue.ts'
import { quote } from './text.ts'

/** The GRANT that allows a user to create what is missing or, if nothing is, to make the additions. */
export function grantOf({ missing, additions }: Changes, { database, user }: Found): string | undefined {
  const rights = new Map<string | undefined, Set<string>>()
  const need = (target: string | undefined, ...wanted: string[]) => {
    const known = rights.get(target) ?? new Set()
    for (const right of wanted) known.add(right)
    rights.set(target, known)
  }
  for (const definition of missing) {
    const { kind, name, schema } = definition
    const target = kind === 'schema' ? name : (schema ?? database)
    need(target, kind === 'view' ? 'CREATE VIEW' : 'CREATE')
    if (kind === 'view') need(target, 'SELECT')
    const text = definition.statements(undefined).map((statement) => statement.text)
    if (kind === 'table' && /\bREFERENCES\b/.test(text.join())) need(target, 'REFERENCES')
    if (kind === 'table' && /\bnextval\(/.test(text.join())) need(target, 'SELECT', 'INSERT')
    if (text.length > 1) need(target, 'ALTER')
  }
  const isAdding = missing.length === 0 && additions.some(({ addition }) => addition !== undefined)
  if (isAdding) need(database, 'ALTER', 'CREATE', 'INSERT')

  const grants = [...rights].flatMap(([target, wanted]) =>
    target === undefined ? [] : `GRANT ${[...wanted].join(', ')} ON ${pattern(target)}.* TO ${account(user)}`,
  )
  return grants.length === 0 ? undefined : grants.join(';\n')
}

/** In a GRANT the name of a database is a pattern. */
function pattern(database: string): string {
  return quote(database).replace(/[_%]/g, '\\$&')
}

/** `user@host`, whose user may hold an @. */
function account(user: string): string {
  const at = user.lastIndexOf('@')
  const parts = at < 0 ? [user] : [user.slice(0, at), user.slice(at + 1)]
  return parts.map(quotedText).join('@')
}
