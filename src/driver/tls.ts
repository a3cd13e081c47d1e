import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContext, type SecureVersion } from 'node:tls'
import { OptionError } from '../errors.ts'

/** A PEM file that may be named, and the option that names it. */
type PemFile = readonly [option: string, file: string | null]

/** The files that a dburi may name. */
export interface PemFiles {
  /** The CAs to trust; without them those of Node (and `NODE_EXTRA_CA_CERTS`). */
  readonly ca: PemFile
  /** The client's certificate, and its key. */
  readonly cert: PemFile
  readonly key: PemFile
  /** The certificates that are revoked. */
  readonly crl?: PemFile
}

/** Settings of the handshake beside the files. */
export interface TlsSettings {
  /** Of the key. */
  readonly passphrase: string | null
  readonly minVersion?: SecureVersion | null
  readonly maxVersion?: SecureVersion | null
}

/** What the files hold, by Node's names. */
export interface TlsMaterial {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly passphrase?: string
}

/**
 * Reads the certificate files of a dburi. Do it once for many connections.
 * @throws OptionError (`INVALID_OPTION`) naming the option whose file cannot be read or understood
 */
export async function loadPem(
  files: PemFiles,
  { passphrase, minVersion = null, maxVersion = null }: TlsSettings,
): Promise<{ readonly material: TlsMaterial; readonly context: SecureContext }> {
  const [ca, cert, key, crl] = await Promise.all(
    [files.ca, files.cert, files.key, files.crl ?? NO_FILE].map(read),
  )
  // Node takes any text for CAs and then trusts nobody: say so here instead of at each connection.
  if (ca) understand(files.ca[0], () => new X509Certificate(ca))
  const material = {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(passphrase !== null && { passphrase }),
  }
  const [doubtful] = key || files.crl === undefined ? files.cert : files.crl
  const context = understand(doubtful, () =>
    createSecureContext({
      ...material,
      ...(crl && { crl }),
      ...(minVersion !== null && { minVersion }),
      ...(maxVersion !== null && { maxVersion }),
    }),
  )
  return { material, context }
}

const NO_FILE: PemFile = ['', null]

async function read([option, file]: PemFile): Promise<Buffer | null> {
  if (file === null) return null
  try {
    return await readFile(file)
  } catch (cause) {
    throw new OptionError('INVALID_OPTION', option, `Cannot read the file of the option ${option}`, { cause })
  }
}

function understand<Value>(option: string, make: () => Value): Value {
  try {
    return make()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OptionError('INVALID_OPTION', option, `The option ${option} does not work: ${reason}`, {
      cause,
    })
  }
}
