import type { SecureContext } from 'node:tls'
import { isLoopback } from '../../driver/socket.ts'
import { loadPem } from '../../driver/tls.ts'
import type { ServerTarget } from '../../errors.ts'
import { invalid, refused, toWord } from '../../options/values.ts'
import { NOT_ENFORCED, type RawPostgresOptions } from './allowed-options.ts'

const TLS_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const

/** libpq's `sslmode`. */
export type TlsMode = (typeof TLS_MODES)[number]
/** How one attempt to connect treats TLS: not at all, only if the server has it, or as a must. */
export type Encryption = 'plain' | 'if-offered' | 'required'

/** How TLS is to be spoken. File names are not read yet: `loadTls` does that. */
export interface TlsPlan {
  readonly mode: TlsMode
  /** Nothing asked for TLS or against it: then loopback stays plaintext, and other hosts get libpq's `prefer`. */
  readonly isDefault: boolean
  /** What a server must prove: nothing, that its certificate comes from the CA, or also that it is for this host. */
  readonly verify: 'nothing' | 'ca' | 'full'
  /** PEM file with the CAs to trust; `null` for those of Node (and `NODE_EXTRA_CA_CERTS`). */
  readonly ca: string | null
  /** PEM files of the client's certificate and its key. */
  readonly cert: string | null
  readonly key: string | null
  /** PEM file with the certificates that are revoked. */
  readonly crl: string | null
  readonly minVersion: (typeof TLS_VERSIONS)[number] | null
  readonly maxVersion: (typeof TLS_VERSIONS)[number] | null
  /** Tell the server which name is meant (SNI); Neon and Azure route by it. */
  readonly sni: boolean
  /** `direct`: TLS from the first byte (PostgreSQL 17), without asking for it. */
  readonly negotiation: 'postgres' | 'direct'
  keyPassword(): string | null
}

/**
 * The attempts to make at one endpoint, in order. Only `allow` has two: that the server insists on TLS shows in its
 * answer to the startup message, so go on to the second one when that answer is an error (SQLSTATE 28000), not when
 * the endpoint cannot be reached.
 */
export function encryptionAttempts(endpoint: ServerTarget, tls: TlsPlan): readonly Encryption[] {
  if ('path' in endpoint) return ['plain']
  if (tls.isDefault && isLoopback(endpoint.host)) return ['plain']
  return ATTEMPTS[tls.mode]
}

const ATTEMPTS: Readonly<Record<TlsMode, readonly Encryption[]>> = {
  disable: ['plain'],
  allow: ['plain', 'required'],
  prefer: ['if-offered'],
  require: ['required'],
  'verify-ca': ['required'],
  'verify-full': ['required'],
}

/**
 * What the options, and `PGSSLMODE` where they are silent, say about TLS. `postgresOptions` says where it differs
 * from libpq.
 * @throws OptionError
 */
export function tlsPlan(
  given: RawPostgresOptions,
  environmentMode: string | null,
  endpoints: readonly ServerTarget[],
): TlsPlan {
  const named = namedMode(given, environmentMode)
  const mode = raisedMode(given, named, endpoints)
  const root = given.text('sslrootcert')
  const ca = root === 'system' ? null : root
  const negotiation = given.word('sslnegotiation', ['postgres', 'direct']) ?? 'postgres'
  if (negotiation === 'direct' && !isStrict(mode)) {
    throw invalid('sslnegotiation', 'postgres, unless sslmode is require, verify-ca or verify-full')
  }
  const certificate = clientCertificate(given)
  const keyPassword = given.text('sslpassword')
  return {
    mode,
    isDefault: named === null && mode === 'prefer' && ca === null && certificate.cert === null,
    // As libpq does: a CA that is named is used, so `require` with one is `verify-ca`.
    verify: mode === 'verify-full' ? 'full' : mode === 'verify-ca' || ca !== null ? 'ca' : 'nothing',
    ca,
    ...certificate,
    crl: given.text('sslcrl'),
    minVersion: given.word('ssl_min_protocol_version', TLS_VERSIONS),
    maxVersion: given.word('ssl_max_protocol_version', TLS_VERSIONS),
    sni: given.boolean('sslsni') ?? true,
    negotiation,
    keyPassword: () => keyPassword,
  }
}

/** The mode that was asked for, by `sslmode`, by the `ssl` of other drivers, or by `PGSSLMODE`. */
function namedMode(given: RawPostgresOptions, environmentMode: string | null): TlsMode | null {
  const sslmode = given.text('sslmode')
  const ssl = given.text('ssl')
  const byMode = sslmode === null ? null : toTlsMode('sslmode', sslmode)
  const bySsl = ssl === null ? null : (SSL_WORDS.get(ssl.toLowerCase()) ?? toTlsMode('ssl', ssl))
  if (byMode !== null && bySsl !== null && byMode !== bySsl && !(bySsl === 'require' && isStrict(byMode))) {
    throw invalid('ssl', 'left out, or say the same as sslmode')
  }

  const named = byMode ?? bySsl
  if (named !== null || environmentMode === null) return named
  return given.text('sslrootcert') === 'system' ? null : toTlsMode('PGSSLMODE', environmentMode)
}

/** `ssl=true` is `require` as libpq reads it for JDBC's sake. */
const SSL_WORDS: ReadonlyMap<string, TlsMode> = new Map([
  ['true', 'require'],
  ['1', 'require'],
  ['on', 'require'],
  ['false', 'disable'],
  ['0', 'disable'],
  ['off', 'disable'],
])

function toTlsMode(name: string, text: string): TlsMode {
  // node-postgres' word, in Heroku's strings, for what `require` means to libpq.
  return text.toLowerCase() === 'no-verify' ? 'require' : toWord(name, text, TLS_MODES)
}

function isStrict(mode: TlsMode): boolean {
  return mode === 'require' || mode === 'verify-ca' || mode === 'verify-full'
}

/** The mode, raised to `verify-full` by what libpq or Prisma mean to be as strict. */
function raisedMode(
  given: RawPostgresOptions,
  named: TlsMode | null,
  endpoints: readonly ServerTarget[],
): TlsMode {
  if (given.word('channel_binding', ['disable', 'prefer', 'require']) === 'require') {
    if (named === 'disable') throw refused('channel_binding', 'it needs TLS, which sslmode=disable turns off')
    if (endpoints.some((endpoint) => 'path' in endpoint)) {
      throw refused('channel_binding', 'it needs TLS, which Unix sockets do not have')
    }
    return 'verify-full'
  }
  if (given.word('sslaccept', ['strict', 'accept_invalid_certs']) === 'strict') {
    if (named === 'disable') throw refused('sslaccept', 'it needs TLS, which sslmode=disable turns off')
    return 'verify-full'
  }
  if (given.text('sslrootcert') === 'system') {
    if (named !== null && named !== 'verify-full') {
      throw invalid(
        'sslrootcert',
        'a file, or sslmode verify-full: anybody can have a certificate from a public CA',
      )
    }
    return 'verify-full'
  }
  return named ?? 'prefer'
}

function clientCertificate(given: RawPostgresOptions): { cert: string | null; key: string | null } {
  const certMode = given.word('sslcertmode', ['disable', 'allow', 'require'])
  const cert = given.text('sslcert')
  const key = given.text('sslkey')
  if (certMode === 'require') throw refused('sslcertmode', NOT_ENFORCED)
  if (certMode === 'disable') return { cert: null, key: null }
  if (cert !== null && key === null) throw invalid('sslcert', 'accompanied by sslkey')
  if (key !== null && cert === null) throw invalid('sslkey', 'accompanied by sslcert')
  return { cert, key }
}

/** A `TlsPlan` whose files have been read: all that a handshake needs. Make it once for many connections. */
export interface LoadedTls extends Pick<TlsPlan, 'verify' | 'sni' | 'negotiation'> {
  readonly context: SecureContext
}

/**
 * Reads the certificate files of a plan.
 * @throws OptionError (`INVALID_OPTION`) naming the option whose file cannot be read or understood
 */
export async function loadTls({ verify, sni, negotiation, ...tls }: TlsPlan): Promise<LoadedTls> {
  const { context } = await loadPem(
    {
      ca: ['sslrootcert', tls.ca],
      cert: ['sslcert', tls.cert],
      key: ['sslkey', tls.key],
      crl: ['sslcrl', tls.crl],
    },
    { passphrase: tls.keyPassword(), minVersion: tls.minVersion, maxVersion: tls.maxVersion },
  )
  return { context, verify, sni, negotiation }
}
