import type { Definition } from './definition.ts'
import { mentions } from './expression.ts'

/** Views after those that they speak of; all else stays as it is. */
export function inOrderOfUse(definitions: readonly Definition[]): Definition[] {
  const ordered = new Set<Definition>()
  const visited = new Set<Definition>()
  for (const definition of definitions) place(definition)
  return [...ordered]

  function place(definition: Definition): void {
    if (visited.has(definition)) return
    visited.add(definition)
    if (definition.kind === 'view') {
      const [statement] = definition.statements(undefined)
      for (const other of definitions) {
        if (other.kind === 'view' && mentions(statement?.text ?? '', other.name)) place(other)
      }
    }
    ordered.add(definition)
  }
}
