/** How a database's message is to be read. */
export interface MessageContext {
  /** The parameters that were sent, as texts; what is no text says too little to be hidden. */
  readonly params: readonly unknown[]
  /** The text of the statement. What stands there is no secret: Drizzle prints it beside the message. */
  readonly sql: string
  /** The names that the database gives beside its message, of a constraint, table or column. */
  readonly names?: readonly string[]
  /**
   * What the message is made of: `values` are quoted in it, as PostgreSQL's complaints about data do; or `names` of the
   * catalogue and of the statement; or it was `raised`, and is made of whatever code in the database put together.
   */
  readonly about: 'values' | 'names' | 'raised'
}

const HIDDEN = '[hidden]'

/** Shared pieces of so many characters are taken for a part of a parameter. */
const PIECE = 4

/** Whatever is longer repeats a value. */
const LONGEST_MESSAGE = 1_000

/** A stretch of a message: what is quoted, a word, or what stands between. */
interface Stretch {
  readonly start: number
  readonly end: number
  readonly isQuoted: boolean
  /** It is no part of a parameter, whatever it looks like. */
  readonly isKnown: boolean
  isHidden: boolean
}

/**
 * Takes out of a database's message what may be a part of a parameter, also when the database has cut it, put it in other
 * letters or together with something else. What is quoted about values goes unless the statement or the database's own
 * names have it; all else goes where it shares four characters in a row with a parameter, in whatever case, unless the
 * statement has that word, or databases have it in their own sentences.
 */
export function redactMessage(message: string, { params, sql, names = [], about }: MessageContext): string {
  const texts = params.flatMap(textsOf)
  if (texts.length === 0) return message

  const shortened = message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message
  const inStatement = new Set(wordsOf(sql))
  const named = new Set(names)
  const whole = new Set(texts)
  const stretches = stretchesOf(shortened, (text, isQuoted) => {
    if (named.has(text)) return true
    if (isQuoted && whole.has(fold(text))) return false
    const words = wordsOf(text)
    if (words.length === 0) return !isQuoted
    const mayBeSentence = !isQuoted && about !== 'raised'
    return words.every((word) => inStatement.has(word) || (mayBeSentence && SENTENCES.has(word)))
  })
  for (const each of stretches) {
    if (!each.isQuoted || each.isKnown) continue
    each.isHidden = about === 'values' || whole.has(fold(shortened.slice(each.start + 1, each.end - 1)))
  }
  hideSharedPieces(shortened, stretches, texts)
  return written(shortened, stretches, about)
}

/** A parameter's texts in small letters: bytes are also read as text. */
function textsOf(param: unknown): string[] {
  const text = plainTextOf(param)
  if (text === '') return []
  if (!text.startsWith('\\x')) return [fold(text)]
  return [fold(text), fold(Buffer.from(text.slice(2), 'hex').toString())]
}

function plainTextOf(param: unknown): string {
  switch (typeof param) {
    case 'string':
      return param
    case 'number':
    case 'bigint':
      return String(param)
    case 'object':
      if (param instanceof ArrayBuffer) return Buffer.from(param).toString()
      if (param instanceof Uint8Array) return Buffer.from(param).toString()
      if (param instanceof Date) return param.toJSON() ?? ''
      return param === null ? '' : String(param)
    default:
      return ''
  }
}

/** In small letters, each where it was. */
function fold(text: string): string {
  const small = text.toLowerCase()
  if (small.length === text.length) return small
  return text.replace(/[\s\S]/g, (unit) => (unit.toLowerCase().length === 1 ? unit.toLowerCase() : unit))
}

function wordsOf(text: string): string[] {
  return fold(text).match(/[\p{L}\p{N}_$]+/gu) ?? []
}

/** An apostrophe is no quote, nor is a quote within a word. */
const STRETCHES = /(?<![\p{L}\p{N}])(["'`])(?<quoted>[\s\S]*?)\1(?![\p{L}\p{N}])|(?<word>[^\s"`(),;]+)/gu

function stretchesOf(message: string, isKnown: (text: string, isQuoted: boolean) => boolean): Stretch[] {
  return Array.from(message.matchAll(STRETCHES), ({ 0: text, index, groups }) => {
    const quoted = groups?.['quoted']
    return {
      start: index,
      end: index + text.length,
      isQuoted: quoted !== undefined,
      isKnown: isKnown(quoted ?? text, quoted !== undefined),
      isHidden: false,
    }
  })
}

/** Hides what a piece of the message touches that is also a piece of a parameter. */
function hideSharedPieces(message: string, stretches: readonly Stretch[], texts: readonly string[]): void {
  const folded = fold(message)
  const touched = new Map<string, Set<Stretch>>()
  for (const each of stretches) {
    if (each.isKnown || each.isHidden) continue
    const last = Math.min(each.end, folded.length - PIECE + 1)
    for (let at = Math.max(0, each.start - PIECE + 1); at < last; at++) {
      const piece = folded.slice(at, at + PIECE)
      const those = touched.get(piece) ?? new Set()
      touched.set(piece, those.add(each))
    }
  }
  for (const piece of piecesIn(texts, touched))
    for (const each of touched.get(piece) ?? []) each.isHidden = true
}

/** Which of the pieces occur in the texts, which may be megabytes. */
function piecesIn(texts: readonly string[], pieces: ReadonlyMap<string, unknown>): Set<string> {
  const found = new Set<string>()
  if (pieces.size === 0) return found
  const candidates = new Uint8Array(65_536)
  for (const piece of pieces.keys()) candidates[hashOf(piece)] = 1
  for (const text of texts) {
    let hash = 0
    for (let at = 0; at < text.length; at++) {
      hash = nextHash(hash, text.charCodeAt(at))
      if (candidates[hash] === 0 || at < PIECE - 1) continue
      const piece = text.slice(at - PIECE + 1, at + 1)
      if (pieces.has(piece)) found.add(piece)
    }
  }
  return found
}

/** Of the last four characters only: what came before has been shifted out of the 16 bits. */
function nextHash(hash: number, character: number): number {
  return ((hash << 4) ^ character) & 0xffff
}

function hashOf(piece: string): number {
  let hash = 0
  for (let at = 0; at < piece.length; at++) hash = nextHash(hash, piece.charCodeAt(at))
  return hash
}

function written(message: string, stretches: readonly Stretch[], about: MessageContext['about']): string {
  let text = ''
  let at = 0
  for (const { start, end, isQuoted, isHidden } of stretches) {
    if (!isHidden) continue
    const between = message.slice(at, start)
    // Words that were hidden side by side are hidden as one.
    if (!(text.endsWith(HIDDEN) && between.trim() === ''))
      text += between + (isQuoted ? quoted(message, start) : HIDDEN)
    at = end
    if (!isQuoted || about !== 'values') continue
    // A value may itself have quotes, and end later than it seems.
    const last = message.lastIndexOf(message.charAt(start))
    at = Math.max(at, last + 1)
    break
  }
  return text + message.slice(at)
}

function quoted(message: string, start: number): string {
  const quote = message.charAt(start)
  return `${quote}${HIDDEN}${quote}`
}

/** Words of which databases make their own sentences. One that is missing here is hidden where a parameter has it too. */
const SENTENCES: ReadonlySet<string> = new Set(
  `a aborted access active add after all already ambiguous an and any are argument arguments array as at attempt authority be
  because before bigint bit boolean bound bounds by byte bytea bytes cache cached call can cannot cast character characters check
  child client coerce collation column columns command commands concurrent condition conflict connection connections
  constraint constraints contain contains correct could create current cursor custom data database date datetime deadlock
  decimal default defined delete denied dependencies detected determine different disk division do does doesn domain double
  duplicate element empty end entry enum error exceeded exceeds exclusion exist exists expected expression expressions failed
  failure field file filter fits for foreign format found from full function grant group has have header ignored in incorrect
  index infinite inline input insert instead int integer intermediate interval invalid is it item iteration its join json
  jsonb key kind large length level limit line list lock locked log long lookup many match maximum member method missing
  mode more must name near negative no none not null number numeric object occurred of offset on one only open operation
  operator option or order out outside overflow owner parameter parent parse part partition path per pattern permission
  permitted plan point position positive precision prepared primary privilege privileges procedure query range read reading
  real record reference referenced references refers relation release replace required restarting result return returned
  returning role row rows run savepoint scale schema see select sequence serialize server set session set short should
  signal size sql statement statements still storage string subquery such supported syntax system t table tables target
  temporary text than that the there this time timed timeout timestamp to token too transaction trigger truncated try trying
  type types unable unexpected union unique unknown unrecognized unsupported until update updated usage use used user uses
  using valid value values varchar variable varying view violates violation wait was were when where while will with within
  without word writable wrong xml you your zero zone`.split(/\s+/),
)
