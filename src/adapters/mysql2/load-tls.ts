import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { SslOptions } from 'mysql2'
import { OptionError } from '../../errors.ts'
import type { TlsPlan } from './tls-plan.ts'

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
