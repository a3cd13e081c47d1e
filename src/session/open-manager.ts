import type { NamedAdapter } from '../driver/types.ts'
import { registeredAdapters } from '../engine/registry.ts'
import { CoreSessionManager } from './manager.ts'
import type { SessionManagerOptions } from './manager-options.ts'
import type { ModelsByDialect, ResultModelsByDialect } from './types.ts'

/**
 * Opens databases by their dburis, keeps one engine for each, prepares the models in it once, and hands out sessions:
 * Celery's `celery.backends.database.session.SessionManager` on Drizzle.
 */
export class SessionManager<
  Models extends ModelsByDialect = ResultModelsByDialect,
  Known extends NamedAdapter = NamedAdapter,
> extends CoreSessionManager<Models, Known> {
  static override readonly name: string = 'SessionManager'
  protected static override readonly adapters = registeredAdapters

  /** @throws OptionError listing everything wrong with the options */
  constructor(options: SessionManagerOptions<Models, Known> = {}) {
    // Without adapters it takes the static ones, which only a subclass has.
    super(options as SessionManagerOptions<Models, Known> & { readonly adapters: readonly Known[] })
  }
}
