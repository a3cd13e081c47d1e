import { visible } from '../backend/visible.ts'

/** What may stand in a template: texts are escaped; nothing is written for `null`, `undefined` and `false`. */
export type Content = string | number | Html | null | undefined | false | readonly Content[]

/** A piece of a page. Only `html` makes it, so that a text of the database cannot pass for one. */
export class Html {
  static readonly name: string = 'Html'

  readonly #text: string

  constructor(parts: TemplateStringsArray, values: readonly Content[]) {
    this.#text = parts.reduce((text, part, at) => text + written(values[at - 1]) + part)
  }

  toString(): string {
    return this.#text
  }
}

/** HTML of a template, in which every text is escaped, in attributes too: these must stand in quotes. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(parts, values)
}

function written(content: Content): string {
  if (content === null || content === undefined || content === false) return ''
  if (content instanceof Html) return content.toString()
  if (typeof content === 'object') return content.map(written).join('')
  return escaped(String(content))
}

/** Line ends and tabs stay; other characters that would not be seen, or would turn letters around, are named. */
function escaped(text: string): string {
  return text
    .split(/([\n\t])/)
    .map((part, at) => (at % 2 === 1 ? part : visible(part)))
    .join('')
    .replace(/[&<>"']/g, (unit) => ENTITIES.get(unit) ?? unit)
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ["'", '&#39;'],
])
