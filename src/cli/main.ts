#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { visible } from '../backend/visible.ts'
import {
  DburiError,
  DrizzleCeleryError,
  MissingDriverError,
  OptionError,
  textOf,
  toError,
} from '../errors.ts'
import {
  COMMON_OPTIONS,
  type Command,
  EXIT,
  type ExitCode,
  Flags,
  parseOptions,
  UsageError,
} from './command.ts'
import { Output } from './output.ts'

const interruption = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // A second one does not wait for anything.
    if (interruption.signal.aborted) process.exit(EXIT.interrupted)
    interruption.abort()
  })
}
// Who reads the output may go away, `head` for example.
process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
  process.exit(code === 'EPIPE' ? EXIT.done : EXIT.failed)
})

process.exitCode = await run(process.argv.slice(2))

async function run(args: readonly string[]): Promise<ExitCode> {
  const [name = '--help', ...others] = args
  const isJson = args.includes('--json')
  try {
    // Loaded here for its errors: drizzle-orm may be missing.
    const { COMMANDS } = await import('./commands.ts')
    if (name === '--help' || name === '-h' || name === 'help') return help(COMMANDS, others[0])
    const command = COMMANDS.get(name)
    if (command === undefined)
      throw new UsageError(`There is no command ${shown(name)}. See drizzle-celery --help`)
    return await runCommand(name, command, others)
  } catch (error) {
    if (interruption.signal.aborted) return EXIT.interrupted
    tell(error, isJson)
    const isUsage = [UsageError, DburiError, OptionError].some((each) => error instanceof each)
    return isUsage ? EXIT.usage : EXIT.failed
  }
}

async function runCommand(name: string, command: Command, args: readonly string[]): Promise<ExitCode> {
  const { values, positionals } = parsed(name, command, args)
  const flags = new Flags(values)
  if (flags.has('help')) return help(new Map([[name, command]]), name)
  const [least, most] = command.count
  const { dburi, operands } = dburiOf(positionals, least, flags)
  if (operands.length < least || operands.length > most) {
    throw new UsageError(`Type: drizzle-celery ${usageOf(name, command)}`)
  }
  const output = new Output(process.stdout, { isJson: flags.has('json'), env: process.env })
  const code = await command.run({ dburi, operands, flags, output, signal: interruption.signal })
  return interruption.signal.aborted ? EXIT.interrupted : code
}

/** @throws UsageError */
function parsed(name: string, command: Command, args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: parseOptions(command), allowPositionals: true })
  } catch (error) {
    const [sentence] = toError(error).message.split(/\. |\n/)
    // What has a colon is no option: it may be a dburi.
    const what = sentence?.includes(':') ? 'There is no such option' : sentence
    throw new UsageError(`${what}. See drizzle-celery ${name} --help`)
  }
}

/** A word in an error; a dburi in its place may have a password. */
function shown(word: string): string {
  return /^[\w-]+$/.test(word) ? word : 'of that name'
}

/** The first operand that is one too many or looks like a dburi; else the environment's. */
function dburiOf(positionals: readonly string[], least: number, flags: Flags) {
  const [first, ...others] = positionals
  const variable = flags.text('env')
  if (
    variable === undefined &&
    first !== undefined &&
    (positionals.length > least || /^[a-z][a-z\d+.-]*:/i.test(first))
  )
    return { dburi: first, operands: others }
  const dburi = process.env[variable ?? 'DATABASE_URL']
  if (dburi !== undefined && dburi !== '') return { dburi, operands: positionals }
  throw new UsageError(
    variable === undefined
      ? 'Which database? Give its dburi, postgresql://user@host/results for example, or set DATABASE_URL'
      : `Which database? The environment variable ${shown(variable)} is not set`,
  )
}

function help(commands: ReadonlyMap<string, Command>, name: string | undefined): ExitCode {
  const output = new Output(process.stdout, { isJson: false, env: process.env })
  const command = name === undefined ? undefined : commands.get(name)
  if (name !== undefined && command !== undefined) {
    output.line(`drizzle-celery ${usageOf(name, command)}`)
    output.line(`\n${command.summary}\n`)
    const options = Object.entries({ ...command.options, ...COMMON_OPTIONS })
    output.fields(
      options.map(([option, { value, help }]) => [`  --${option}${value ? ` ${value}` : ''}`, help]),
    )
    return EXIT.done
  }
  output.line("drizzle-celery COMMAND [DBURI] …   Celery's results, and the tables of a database\n")
  output.fields(
    [...commands].map(([each, { operands, summary }]) => [`  ${each} ${operands}`.trimEnd(), summary]),
  )
  output.line(
    '\nDBURI is postgresql://user@host/results, mysql://…, sqlite:///file.db, or what Celery has in result_backend;\n' +
      'without one DATABASE_URL is used. Options of a command: drizzle-celery COMMAND --help\n\n' +
      'Exit status: 0 done; 1 the answer is no (check, task, group, forget); 2 wrong command line; 3 it failed; 130 Ctrl-C.',
  )
  return EXIT.done
}

function usageOf(name: string, { operands, options }: Command): string {
  return [name, '[DBURI]', operands, Object.keys(options).length > 0 ? '[options]' : '']
    .filter((part) => part !== '')
    .join(' ')
}

/** One line: what could not be done, why, and what to do. */
function tell(error: unknown, isJson: boolean): void {
  const code =
    error instanceof DrizzleCeleryError ? error.code : error instanceof UsageError ? 'USAGE' : 'FAILED'
  const message = `${toError(error).message}${adviceFor(error)}`.replace(/\s+/g, ' ').trim()
  process.stderr.write(
    isJson ? `${JSON.stringify({ error: { code, message } })}\n` : `drizzle-celery: ${visible(message)}\n`,
  )
}

function adviceFor(error: unknown): string {
  // drizzle-orm: npm installs it with this package, others may not.
  if (textOf(error, 'code') === 'ERR_MODULE_NOT_FOUND') return '. Run: npm install drizzle-orm'
  if (!(error instanceof MissingDriverError)) return ''
  const words = process.argv.slice(2).filter((word) => !word.includes('://'))
  const line = `npx -p drizzle-celery -p ${error.packageName} drizzle-celery ${words[0] ?? 'ping'} …`
  return `. Or, outside a project: ${line}`
}
