import { resolve } from 'node:path'
import { showClient } from '../../driver/client.ts'
import type { PgliteHandle } from '../../driver/dialect.ts'
import { drizzleConfig, withLogger } from '../../driver/drizzle.ts'
import { importDriver } from '../../driver/load.ts'
import type { Adapter } from '../../driver/types.ts'
import { pathUnder } from '../../options/paths.ts'
import { PgliteConnection } from './connection.ts'
import { drizzleClient, pgliteClient } from './drizzle-client.ts'
import { Instance } from './instance.ts'
import { pgliteOptions } from './options.ts'
import { SERIALIZERS } from './parameters.ts'

/** PostgreSQL in this process by PGlite, in a directory or in memory: `pglite:` and `postgresql+pglite:`. */
export const adapter: Adapter<'postgresql', PgliteHandle> = {
  dialect: 'postgresql',

  async open(dburi, options) {
    const { path, relaxedDurability } = pgliteOptions(dburi)
    const { sqliteRoot, statementCacheSize, exposeParameters } = options
    const config = drizzleConfig(options)
    // Resolved at once: the working directory may change before the first connection.
    const directory =
      path === null ? null : sqliteRoot === undefined ? resolve(path) : pathUnder(sqliteRoot, path)
    const { PGlite } = await importDriver('@electric-sql/pglite', () => import('@electric-sql/pglite'))
    const { drizzle } = await import('drizzle-orm/pglite')
    const instance = new Instance(directory, async (dataDir, onStderr) => {
      const driver = new PGlite({ dataDir, relaxedDurability, debug: 0, onStderr })
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
      handle: (executor, logger) =>
        // Drizzle's type wants all of PGlite; `DrizzleClient` is all it uses.
        showClient<PgliteHandle>(
          drizzle({ client: drizzleClient(executor) as never, ...withLogger(config, logger) }),
          () => pgliteClient(executor),
        ),
      release: () => instance.close(),
    }
  },
}
