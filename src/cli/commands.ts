import type { Command } from './command.ts'
import { cleanup, forget } from './delete.ts'
import { ping } from './ping.ts'
import { counts, group, task, tasks } from './results.ts'
import { check, ddl, prepare } from './schema.ts'
import { watch } from './watch.ts'
import { web } from './web.ts'

/** The commands by their words, in the order of the help. */
export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries({ ping, check, prepare, ddl, tasks, task, watch, counts, group, forget, cleanup, web }),
)
