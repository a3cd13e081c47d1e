import { unsupported } from '../definition.ts'

/** The `WITH (…)` of an index or a view; nothing when there is nothing in it. */
export function storageParameters(owner: string, parameters: object): string {
  const written = Object.entries(parameters)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      const text = String(value)
      if (!/^\w[\w.]*$/.test(name) || !/^[-\w.]+$/.test(text)) {
        throw unsupported(owner, `its parameter "${name}" is neither a word nor a number`)
      }
      return `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} = ${text}`
    })
  return written.length === 0 ? '' : ` WITH (${written.join(', ')})`
}
