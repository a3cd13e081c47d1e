// What stands here by name takes the place of what core.ts has by it.
export * from './core.ts'

// Opening databases, by every adapter there is
export { SessionManager } from './session/open-manager.ts'
export { type Drivers, type Opens, registerAdapter, type Schemes } from './engine/registry.ts'
