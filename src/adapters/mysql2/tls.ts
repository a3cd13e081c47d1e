import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SslOptions } from 'mysql2'
import { isLoopback } from '../../driver/socket.ts'
import { OptionError, type ServerTarget } from '../../errors.ts'
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
  keyPassword(): string | null
}

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
  const asked = [modeOf(given, 'ssl_mode'), modeOf(given, 'sslmode'), bySsl(given), byFlags(given)]
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
function bySsl(given: RawMysqlOptions): TlsMode | null {
  const text = given.text('ssl')
  if (text === null) return null
  if (!text.startsWith('{')) return toBoolean('ssl', text) ? 'VERIFY_IDENTITY' : 'DISABLED'
  return readSsl(text).rejectUnauthorized === false ? 'REQUIRED' : 'VERIFY_IDENTITY'
}

function readSsl(text: string): { rejectUnauthorized?: unknown } {
  const value = parsed(text)
  const isKnown =
    typeof value === 'object' && value !== null && Object.keys(value).every((key) => KNOWN.includes(key))
  if (isKnown) return value
  throw invalid(
    'ssl',
    'true, false or {"rejectUnauthorized":true}; files go into ssl_ca, ssl_cert and ssl_key',
  )
}

const KNOWN: readonly string[] = ['rejectUnauthorized', 'verifyIdentity']

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** PyMySQL's and mysqlclient's, and Prisma's. */
function byFlags(given: RawMysqlOptions): TlsMode | null {
  if (given.boolean('ssl_disabled') === true) return 'DISABLED'
  if (given.boolean('ssl_verify_identity') === true || given.boolean('ssl_check_hostname') === true) {
    return 'VERIFY_IDENTITY'
  }
  const accept = given.word('sslaccept', ['strict', 'accept_invalid_certs'])
  if (accept === 'strict') return 'VERIFY_IDENTITY'
  if (given.boolean('ssl_verify_cert') === true) return 'VERIFY_CA'
  return accept === null ? null : 'REQUIRED'
}

/**
 * Reads the certificate files of a plan: mysql2's `ssl` option. Make it once for many connections, which share what
 * mysql2 makes of it.
 * @throws OptionError (`INVALID_OPTION`) naming the option whose file cannot be read or understood
 */
export async function loadTls({ mode, ...files }: TlsPlan): Promise<SslOptions> {
  const [ca, cert, key] = await Promise.all([
    read('ssl_ca', files.ca),
    read('ssl_cert', files.cert),
    read('ssl_key', files.key),
  ])
  // Node takes any text for CAs and then trusts nobody: say so here instead of at each connection.
  if (ca !== null) understand('ssl_ca', () => new X509Certificate(ca))
  const passphrase = files.keyPassword()
  const material = {
    ...(ca !== null && { ca }),
    ...(cert !== null && { cert }),
    ...(key !== null && { key }),
    ...(passphrase !== null && { passphrase }),
  }
  understand('ssl_cert', () => createSecureContext(material))
  return {
    ...material,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: mode === 'VERIFY_CA' || mode === 'VERIFY_IDENTITY',
    verifyIdentity: mode === 'VERIFY_IDENTITY',
  }
}

async function read(option: string, file: string | null): Promise<Buffer | null> {
  if (file === null) return null
  try {
    return await readFile(file)
  } catch (cause) {
    throw new OptionError('INVALID_OPTION', option, `Cannot read the file of the option ${option}`, { cause })
  }
}

function understand(option: string, make: () => unknown): void {
  try {
    make()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OptionError('INVALID_OPTION', option, `The option ${option} does not work: ${reason}`, {
      cause,
    })
  }
}
