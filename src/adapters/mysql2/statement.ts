/** What a statement does beyond its own rows on MySQL and MariaDB, as far as its text shows. */
export interface MysqlTraits {
  /** It begins or ends a transaction, which only `begin`, `commit`, `rollback` and `transaction` may do. */
  readonly controlsTransaction: boolean
  /** The server ends the transaction it stands in, and keeps what was done in it. */
  readonly commits: boolean
  /** It leaves state behind on its connection, or runs what its text does not tell. */
  readonly taints: boolean
  /** Its lock belongs to the connection's holder; without one it is released at once. */
  readonly needsHolder: boolean
}

const CONTROL =
  /^(?:begin|start\s+transaction|commit|rollback(?!\s+(?:work\s+)?to\b)|xa\b|set\s+(?:(?:session|local|@@(?:(?:session|local)\.)?)\s*)?autocommit\b)/i

const COMMITS = new RegExp(
  [
    String.raw`^(?:alter|rename|truncate|lock|unlock|analyze\s+(?:(?:no_write_to_binlog|local)\s+)?tables?|backup|check|cache\s+index|flush|load\s+index|optimize|repair|reset|grant|revoke|install|uninstall|change|purge|set\s+password)\b`,
    String.raw`^(?:start|stop)\s+(?:all\s+)?(?:slaves?|replicas?|group_replication)\b`,
    String.raw`^create\b(?!\s+(?:or\s+replace\s+)?temporary\s+table\b)`,
    String.raw`^drop\b(?!\s+(?:temporary|prepare)\b)`,
  ].join('|'),
  'i',
)

const TAINTS = new RegExp(
  [
    // `set transaction` is for the next transaction, which may be another holder's.
    String.raw`^(?:set|use|prepare|execute|deallocate|drop\s+prepare|call|do|load|handler|lock|flush|backup|declare|begin|if|for|while|loop|repeat|case)\b`,
    String.raw`^create\s+(?:or\s+replace\s+)?temporary\b`,
    String.raw`\bget_lock\s*\(`,
    String.raw`@(?:[\w.$]*|'')\s*:=`,
    String.raw`\binto\s+@`,
  ].join('|'),
  'is',
)

const NEEDS_HOLDER = /^lock\s+tables?\b|^flush\b.*\bwith\s+read\s+lock\b|\bget_lock\s*\(/is

/**
 * Reads a statement's text. The words at its beginning tell what it is, for the server takes one at a time. What a
 * procedure or `execute immediate` does to a transaction shows in the server's status flag afterwards.
 */
export function mysqlTraits(sql: string): MysqlTraits {
  const text = withoutComments(sql)
  return {
    controlsTransaction: partsOf(text).some((part) => CONTROL.test(part)),
    taints: TAINTS.test(text),
    commits: COMMITS.test(text),
    needsHolder: NEEDS_HOLDER.test(text),
  }
}

/** A routine's body has statements of its own, which do not run with it. */
function partsOf(text: string): string[] {
  return /^create\b/i.test(text) ? [text] : text.split(';').map((part) => part.replace(OPENING, ''))
}

const OPENING = /^[\s(]+/

const SKIPPED =
  /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`]|``)*`|--(?=[\s\p{Cc}]|$)[^\n]*|#[^\n]*|\/\*(?!M?!)[\s\S]*?\*\//gu

/** Without comments, with literals emptied; what stands in the comments that servers run (`/*! … *\/`) is read. */
function withoutComments(sql: string): string {
  return sql
    .replace(SKIPPED, (skipped) => (/^['"`]/.test(skipped) ? "''" : ' '))
    .replace(/\/\*M?!\d*|\*\//g, ' ')
    .replace(OPENING, '')
}
