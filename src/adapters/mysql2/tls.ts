import type { SslOptions } from 'mysql2'
import { isLoopback } from '../../driver/socket.ts'
import { loadPem } from '../../driver/tls.ts'
import type { ServerTarget } from '../../errors.ts'
import { invalid, refused, toBoolean } from '../../options/values.ts'
import type { RawMysqlOptions } from './allowed-options.ts'

/** MySQL's `--ssl-mode`. */
const TLS_MODES = ['DISABLED', 'PREFERRED', 'REQUIRED', 'VERIFY_CA', 'VERIFY_IDENTITY'] as const
export type TlsMode = (typeof TLS_MODES)[number]

/** How TLS is to be spoken. File names are not read yet: `loadTls` does that. */
export interface TlsPlan {
  readonly mode: TlsMode
  /** Nothing asked for TLS or against it: then loopback stays plaintext. */
  readonly isDefault: boolean
  /** PEM file with the CAs to trust; `null` for those of Node (and `NODE_EXTRA_CA_CERTS`). */
  readonly ca: string | null
  /** PEM files of the client's certificate and its key. */
  readonly cert: string | null
  readonly key: string | null
  readonly minVersion: TlsVersion
  keyPassword(): string | null
}

type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/** The attempts to make at one endpoint, in order; go on to the second only when the server has no TLS. */
export function encryptionAttempts(endpoint: ServerTarget, tls: TlsPlan): readonly ('plain' | 'tls')[] {
  if ('path' in endpoint || tls.mode === 'DISABLED') return ['plain']
  if (tls.isDefault && isLoopback(endpoint.host)) return ['plain']
  return tls.mode === 'PREFERRED' ? ['tls', 'plain'] : ['tls']
}

/**
 * What the options say about TLS, the strictest of them. Unlike Python's drivers, a CA that is named is always used, and
 * `ssl=true`, mysql2's `ssl={}` and PlanetScale's `sslaccept=strict` verify the server's name, too, as mysql2 and Prisma
 * mean to; without any word it is MySQL's own default, `PREFERRED`.
 * @throws OptionError
 */
export function tlsPlan(given: RawMysqlOptions): TlsPlan {
  const ssl = sslOf(given)
  const asked = [
    modeOf(given, 'ssl_mode'),
    modeOf(given, 'sslmode'),
    ssl?.mode ?? null,
    byTls(given),
    byFlags(given),
  ]
  const modes = asked.filter((mode) => mode !== null)
  if (modes.includes('DISABLED') && modes.some((mode) => mode !== 'DISABLED')) {
    throw refused('ssl_disabled', 'another option asks for TLS')
  }
  const { ca, cert, key } = filesOf(given)
  const named = modes.toSorted((one, other) => TLS_MODES.indexOf(other) - TLS_MODES.indexOf(one))[0]
  const mode = withFiles(named ?? 'PREFERRED', ca, cert)
  const keyPassword = given.text('ssl_key_password')
  return {
    mode,
    isDefault: named === undefined && mode === 'PREFERRED',
    ca,
    cert,
    key,
    minVersion: ssl?.minVersion ?? 'TLSv1.2',
    keyPassword: () => keyPassword,
  }
}

function filesOf(given: RawMysqlOptions): Pick<TlsPlan, 'ca' | 'cert' | 'key'> {
  // Prisma's `sslcert` is the CA's certificate.
  const ca = given.text('ssl_ca') ?? given.text('sslcert')
  const cert = given.text('ssl_cert')
  const key = given.text('ssl_key')
  if ((cert === null) !== (key === null)) throw invalid('ssl_cert', 'accompanied by ssl_key')
  return { ca, cert, key }
}

function withFiles(mode: TlsMode, ca: string | null, cert: string | null): TlsMode {
  if (mode !== 'PREFERRED' && mode !== 'REQUIRED') return mode
  if (ca !== null) return 'VERIFY_CA'
  return cert === null ? mode : 'REQUIRED'
}

function modeOf(given: RawMysqlOptions, name: 'ssl_mode' | 'sslmode'): TlsMode | null {
  const text = given.text(name)
  if (text === null) return null
  const word = text.toUpperCase().replaceAll('-', '_')
  const mode = TLS_MODES.find((known) => known === (SYNONYMS.get(word) ?? word))
  if (mode === undefined) throw invalid(name, `one of ${TLS_MODES.join(', ')}`)
  return mode
}

/** As libpq calls them. */
const SYNONYMS: ReadonlyMap<string, TlsMode> = new Map([
  ['DISABLE', 'DISABLED'],
  ['PREFER', 'PREFERRED'],
  ['REQUIRE', 'REQUIRED'],
  ['VERIFY_FULL', 'VERIFY_IDENTITY'],
])

/** `ssl=true`, or mysql2's `ssl={"rejectUnauthorized":true}`. */
function sslOf(given: RawMysqlOptions): { readonly mode: TlsMode; readonly minVersion?: TlsVersion } | null {
  const text = given.text('ssl')
  if (text === null) return null
  if (!text.startsWith('{')) return { mode: toBoolean('ssl', text) ? 'VERIFY_IDENTITY' : 'DISABLED' }
  const { rejectUnauthorized, minVersion = 'TLSv1.2' } = readSsl(text)
  if (minVersion !== 'TLSv1.2' && minVersion !== 'TLSv1.3')
    throw invalid('ssl', 'TLS of TLSv1.2 or TLSv1.3: as minVersion it takes these')
  return { mode: rejectUnauthorized === false ? 'REQUIRED' : 'VERIFY_IDENTITY', minVersion }
}

function readSsl(text: string): { rejectUnauthorized?: unknown; minVersion?: unknown } {
  const value = parsed(text)
  const isKnown =
    typeof value === 'object' && value !== null && Object.keys(value).every((key) => KNOWN.includes(key))
  if (isKnown) return value
  throw invalid(
    'ssl',
    'true, false or {"minVersion":"TLSv1.2","rejectUnauthorized":true}; files go into ssl_ca, ssl_cert and ssl_key',
  )
}

const KNOWN: readonly string[] = ['minVersion', 'rejectUnauthorized', 'verifyIdentity']

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** Go's words. */
function byTls(given: RawMysqlOptions): TlsMode | null {
  const word = given.word('tls', ['true', 'false', 'skip-verify', 'preferred'])
  return word === null ? null : GO_MODES[word]
}

const GO_MODES = {
  true: 'VERIFY_IDENTITY',
  false: 'DISABLED',
  'skip-verify': 'REQUIRED',
  preferred: 'PREFERRED',
} as const

/** PyMySQL's and mysqlclient's, Prisma's, and Connector/J's older ones. */
function byFlags(given: RawMysqlOptions): TlsMode | null {
  if (given.boolean('ssl_disabled') === true) return 'DISABLED'
  if (given.boolean('ssl_verify_identity') === true || given.boolean('ssl_check_hostname') === true) {
    return 'VERIFY_IDENTITY'
  }
  if (given.boolean('useSSL') === false) return 'DISABLED'
  if (given.boolean('verifyServerCertificate') === true) return 'VERIFY_IDENTITY'
  const accept = given.word('sslaccept', ['strict', 'accept_invalid_certs'])
  if (accept === 'strict') return 'VERIFY_IDENTITY'
  if (given.boolean('ssl_verify_cert') === true) return 'VERIFY_CA'
  const isRequired =
    accept !== null || given.boolean('useSSL') === true || given.boolean('requireSSL') === true
  return isRequired ? 'REQUIRED' : null
}

/**
 * Reads the certificate files of a plan: mysql2's `ssl` option. Make it once for many connections, which share what
 * mysql2 makes of it.
 * @throws OptionError (`INVALID_OPTION`) naming the option whose file cannot be read or understood
 */
export async function loadTls({
  mode,
  minVersion,
  ca,
  cert,
  key,
  keyPassword,
}: TlsPlan): Promise<SslOptions> {
  const { material } = await loadPem(
    { ca: ['ssl_ca', ca], cert: ['ssl_cert', cert], key: ['ssl_key', key] },
    { passphrase: keyPassword() },
  )
  return {
    ...material,
    minVersion,
    rejectUnauthorized: mode === 'VERIFY_CA' || mode === 'VERIFY_IDENTITY',
    verifyIdentity: mode === 'VERIFY_IDENTITY',
  }
}
