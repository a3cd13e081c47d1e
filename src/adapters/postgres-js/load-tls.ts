import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { SecureContext } from 'node:tls'
import { createSecureContext } from 'node:tls'
import { OptionError } from '../../errors.ts'
import type { TlsPlan } from './tls-plan.ts'

/** A `TlsPlan` whose files have been read: all that a handshake needs. Make it once for many connections. */
export interface LoadedTls extends Pick<TlsPlan, 'verify' | 'sni' | 'negotiation'> {
  readonly context: SecureContext
}

/**
 * Reads the certificate files of a plan.
 * @throws OptionError (`INVALID_OPTION`) naming the option whose file cannot be read or understood
 */
export async function loadTls(tls: TlsPlan): Promise<LoadedTls> {
  const [ca, cert, key, crl] = await Promise.all([
    read('sslrootcert', tls.ca),
    read('sslcert', tls.cert),
    read('sslkey', tls.key),
    read('sslcrl', tls.crl),
  ])
  // Node takes any text for CAs and then trusts nobody: say so here instead of at each connection.
  if (ca !== null) understand('sslrootcert', () => new X509Certificate(ca))
  const passphrase = tls.keyPassword()
  const context = understand(key === null ? 'sslcrl' : 'sslcert', () =>
    createSecureContext({
      ...(ca !== null && { ca }),
      ...(crl !== null && { crl }),
      ...(cert !== null && { cert }),
      ...(key !== null && { key }),
      ...(passphrase !== null && { passphrase }),
      ...(tls.minVersion !== null && { minVersion: tls.minVersion }),
      ...(tls.maxVersion !== null && { maxVersion: tls.maxVersion }),
    }),
  )
  return { context, verify: tls.verify, sni: tls.sni, negotiation: tls.negotiation }
}

async function read(option: string, file: string | null): Promise<Buffer | null> {
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
