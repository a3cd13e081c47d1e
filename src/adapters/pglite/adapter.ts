import { resolve } from 'node:path'
import type { Extensions } from '@electric-sql/pglite'
import { showClient } from '../../driver/client.ts'
import type { PgliteHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { missingDriver } from '../../driver/load.ts'
import type { NamedAdapter } from '../../driver/types.ts'
import { pathUnder } from '../../options/paths.ts'
import { loadHandles, pgliteCodecs } from '../postgresql/handles.ts'
import { PgliteConnection } from './connection.ts'
import { pgliteClient } from './drizzle-client.ts'
import { Instance } from './instance.ts'
import { pgliteOptions } from './options.ts'
import { SERIALIZERS } from './parameters.ts'

/** PostgreSQL in this process by PGlite, in a directory or in memory: `pglite:` and `postgresql+pglite:`. */
export const pglite: NamedAdapter<'pglite', 'postgresql', PgliteHandle> = {
  driver: 'pglite',
  dialect: 'postgresql',

  async open(dburi, options) {
    const { path, relaxedDurability } = pgliteOptions(dburi)
    const { sqliteRoot, statementCacheSize, exposeParameters, extensions = {} } = options
    const config = drizzleConfig(options)
    // Resolved at once: the working directory may change before the first connection.
    const directory =
      path === null ? null : sqliteRoot === undefined ? resolve(path) : pathUnder(sqliteRoot, path)
    const { PGlite } = await loadDriver()
    const handleOf = await loadHandles('PgliteDatabase', pgliteCodecs)
    const instance = new Instance(directory, async (dataDir, onStderr) => {
      const driver = new PGlite({
        dataDir,
        relaxedDurability,
        debug: 0,
        onStderr,
        extensions: asExtensions(extensions),
      })
      await driver.waitReady
      driver.serializers = { ...SERIALIZERS }
      return driver
    })

    return {
      pooling: 'static',
      inThread: true,
      exclusive: directory !== null,
      async connect(signal) {
        await instance.open(signal)
        return new PgliteConnection(instance, { statementCacheSize, exposeParameters })
      },
      handle: (executor, logger, cachesReads) =>
        showClient<PgliteHandle>(handleOf(executor, withLogger(config, logger, cachesReads)), () =>
          pgliteClient(executor),
        ),
      release: () => instance.close(),
    }
  },
}

/** Bundlers leave an import that stands in `try` to run time where they do not find it. */
async function loadDriver() {
  try {
    return await import('@electric-sql/pglite')
  } catch (error) {
    throw missingDriver('@electric-sql/pglite', error)
  }
}

/** What they are PGlite itself finds out, when it starts. */
function asExtensions(extensions: Readonly<Record<string, unknown>>): Extensions {
  return extensions as Extensions
}
