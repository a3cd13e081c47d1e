import { setImmediate as round } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import {
  type Connection,
  type Database,
  type Dialect,
  DrizzleCeleryError,
  type Executor,
  SessionManager,
  type TransactionOptions,
} from 'drizzle-celery'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Engine } from '../../src/engine/engine.ts'
import { DEFAULT_POOL_OPTIONS } from '../../src/options/pool.ts'
import { Session } from '../../src/session/session.ts'
import { loops } from '../fixtures/loops.ts'
import { describeNeeding, freshPostgres } from '../fixtures/servers.ts'

/** Random programs of calls on one session, at the same time and one after the other, beside a model of its states. */

/** What a program may do. `answer` lets one thing that the server was asked for come to its end. */
const CALLS = ['statement', 'begin', 'commit', 'rollback', 'nested', 'close'] as const
type Call = (typeof CALLS)[number]
type Step = Call | 'failing statement' | 'answer' | 'lose' | 'abort' | 'doom'

interface Options {
  readonly autocommit: boolean
  readonly shortLivedSessions: boolean
  /** Transactions begin without waiting, as on PostgreSQL. */
  readonly beginsLater: boolean
}

type Tag =
  | 'idle'
  | 'opening'
  | 'connected'
  | 'in transaction'
  | 'committing'
  | 'rolling back'
  | 'broken'
  | 'closed'

/** What becomes of a call: it is refused with a code at once, or goes its way. */
type Verdict = 'goes' | 'nothing to do' | 'CLOSED' | 'IN_TRANSACTION' | 'PENDING_ROLLBACK'

/** The states of a session as its docs have them: the calls move it at once, the server's answers later. */
class Model {
  is: Tag = 'idle'
  begins = false
  /** How often it was opened. */
  openings = 0
  isLost = false
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  call(call: Call): Verdict {
    if (call === 'close') return this.#goTo('closed')
    if (this.is === 'closed') return 'CLOSED'
    const isEnding = this.is === 'committing' || this.is === 'rolling back'
    const isBroken =
      this.is === 'broken' || (this.isLost && (this.is === 'connected' || this.is === 'in transaction'))
    const hasBegun = this.is === 'in transaction' || (this.is === 'opening' && this.begins)
    switch (call) {
      case 'begin':
        if (isEnding) return 'IN_TRANSACTION'
        if (isBroken) return 'PENDING_ROLLBACK'
        return hasBegun ? 'IN_TRANSACTION' : this.#open(true)
      case 'commit':
        if (this.is === 'committing') return 'goes'
        if (isEnding) return 'CLOSED'
        if (isBroken) return 'PENDING_ROLLBACK'
        return hasBegun ? this.#goTo('committing') : 'nothing to do'
      case 'rollback':
        return hasBegun || isBroken || isEnding ? this.#goTo('rolling back') : 'nothing to do'
      default:
        if (isEnding) return 'CLOSED'
        if (isBroken) return 'PENDING_ROLLBACK'
        if (this.is === 'idle' || (this.is === 'connected' && !this.#options.autocommit))
          this.#open(!this.#options.autocommit)
        return 'goes'
    }
  }

  opened(didOpen: boolean): void {
    if (this.is === 'opening') this.is = didOpen ? (this.begins ? 'in transaction' : 'connected') : 'idle'
  }

  ended(how: 'committing' | 'rolling back', didFail: boolean, isHeld: boolean): void {
    if (this.is === how) this.is = didFail ? 'broken' : isHeld ? 'connected' : 'idle'
  }

  #open(begins: boolean): Verdict {
    this.begins = begins
    this.openings++
    return this.#goTo('opening')
  }

  #goTo(tag: Tag): Verdict {
    this.is = tag
    return 'goes'
  }
}

/** A transaction of the server's: how it was begun, what was written, how it ended. */
interface Begun {
  readonly options: TransactionOptions
  readonly rows: string[]
  outcome: 'open' | 'kept' | 'undone'
}

/** A server that answers when the schedule lets it, and breaks where it is asked for what no client may. */
class FakeServer {
  readonly schedule: fc.Scheduler
  readonly kept: string[] = []
  readonly begun: Begun[] = []
  readonly faults: string[] = []
  /** Commits that it did not do. */
  refused = 0
  current: FakeConnection | null = null
  /** Told of the answer to what opens a session. */
  onOpened: (didOpen: boolean) => void = () => {}
  readonly #beginsLater: boolean

  constructor(schedule: fc.Scheduler, { beginsLater }: Options) {
    this.schedule = schedule
    this.#beginsLater = beginsLater
  }

  readonly database: Database<Executor> = {
    pooling: 'queue',
    connect: async () => {
      await this.schedule.schedule(Promise.resolve(), 'connect')
      const connection = new FakeConnection(this)
      if (this.#beginsLater) Object.assign(connection, { beginLater: connection.beginsNow.bind(connection) })
      return connection
    },
    handle: (executor) => executor,
  }
}

class FakeConnection implements Connection {
  lost: Error | null = null
  tainted = false
  onLost: (() => void) | null = null
  /** What is under way can only be undone, as after a failure on PostgreSQL; the next transaction cannot be begun. */
  isDoomed = false
  readonly #server: FakeServer
  #transaction: Begun | null = null
  #last: Promise<unknown> = Promise.resolve()
  readonly #rejects = new Set<(error: Error) => void>()

  constructor(server: FakeServer) {
    this.#server = server
    server.current = this
  }

  get inTransaction(): boolean {
    return this.#transaction !== null
  }

  run({ sql: text }: { readonly sql: string }): Promise<unknown> {
    return this.#ask(text, () => {
      if (this.isDoomed && this.inTransaction) throw new Error('current transaction is aborted')
      if (text === 'fail') {
        this.isDoomed = this.inTransaction
        throw new Error('failed, as asked for')
      }
      if (/savepoint/.test(text)) {
        if (!this.inTransaction) this.#server.faults.push(`${text} outside a transaction`)
        return
      }
      if (this.#transaction === null) this.#server.kept.push(text)
      else this.#transaction.rows.push(text)
    })
  }

  begin(options: TransactionOptions): Promise<void> {
    return this.#ask('begin', () => {
      if (this.inTransaction) this.#server.faults.push('begin in a transaction')
      if (this.isDoomed) {
        this.isDoomed = false
        throw new Error('begin failed, as asked for')
      }
      this.beginsNow(options)
    })
  }

  beginsNow(options: TransactionOptions): void {
    this.#transaction = { options, rows: [], outcome: 'open' }
    this.#server.begun.push(this.#transaction)
  }

  commit(): Promise<boolean> {
    return this.#ask('commit', () => {
      if (!this.inTransaction) this.#server.faults.push('commit outside a transaction')
      const isKept = !this.isDoomed
      if (!isKept) this.#server.refused++
      this.#over(isKept)
      return isKept
    })
  }

  rollback(): Promise<void> {
    return this.#ask('rollback', () => this.#over(false))
  }

  async ping(): Promise<void> {}

  discard(reason: Error): void {
    this.lose(reason)
  }

  async close(): Promise<void> {
    if (this.inTransaction) this.#server.faults.push('closed in a transaction')
  }

  lose(reason: Error): void {
    if (this.lost !== null) return
    this.lost = reason
    this.#over(false)
    for (const reject of this.#rejects) reject(reason)
    this.onLost?.()
  }

  #over(isKept: boolean): void {
    const transaction = this.#transaction
    if (transaction === null) return
    transaction.outcome = isKept ? 'kept' : 'undone'
    if (isKept) this.#server.kept.push(...transaction.rows)
    this.#transaction = null
    this.isDoomed = false
  }

  /** One after the other, each when the schedule lets it. */
  #ask<Answer>(what: string, work: () => Answer): Promise<Answer> {
    if (this.lost !== null) return Promise.reject(this.lost)
    return new Promise((resolve, reject) => {
      this.#rejects.add(reject)
      this.#last = this.#last
        .then(() => this.#server.schedule.schedule(Promise.resolve(), what))
        .then(() => {
          this.#rejects.delete(reject)
          if (this.lost === null) resolve(work())
        })
        .catch(reject)
    })
  }
}

interface Made {
  readonly step: Step
  readonly name: string
  readonly verdict: Verdict
  readonly outcome: Promise<string>
  /** The call under way whose outcome is this one's too. */
  readonly shares: Made | undefined
  settled: string | null
}

/** Other options for each of the first 15; what a statement begins with has none. */
function nthOptions(number: number): TransactionOptions {
  const levels = ['read uncommitted', 'read committed', 'repeatable read', 'serializable', undefined] as const
  const [isolationLevel, readOnly] = [levels[number % 5], [true, false, undefined][Math.floor(number / 5)]]
  return {
    deferrable: false,
    ...(isolationLevel !== undefined && { isolationLevel }),
    ...(readOnly !== undefined && { readOnly }),
  }
}

/** Runs a program on a session over the fake, and says where it does not agree with the model. */
async function disagreements(
  schedule: fc.Scheduler,
  options: Options,
  steps: readonly Step[],
): Promise<string[]> {
  const server = new FakeServer(schedule, options)
  const engine = new Engine<'sqlite', Executor>({
    dialect: 'sqlite',
    database: server.database,
    pool: DEFAULT_POOL_OPTIONS,
    pooled: true,
    statementTimeout: undefined,
    exposeParameters: false,
    seenAs: { dialect: 'sqlite', dburi: 'fake', database: null, serverAddress: null, serverPort: null },
    origin: {},
  })
  const controller = new AbortController()
  const { autocommit, shortLivedSessions } = options
  const session = new Session(engine, {}, { autocommit, shortLivedSessions, signal: controller.signal })
  const { db } = session
  const model = new Model(options)
  const made: Made[] = []
  /** Each begin is known by its options. */
  const optionsOf = new Map<string, TransactionOptions>()
  /** The server's transactions before the session was opened last. */
  let begunBefore = 0
  const wrong: string[] = []
  const say = (text: string) => wrong.push(text)

  const perform: Record<Call | 'failing statement', (name: string) => Promise<unknown>> = {
    statement: (name) => db.run({ sql: name, params: [], asArrays: false }),
    'failing statement': () => db.run({ sql: 'fail', params: [], asArrays: false }),
    begin: (name) => {
      const own = nthOptions(optionsOf.size)
      optionsOf.set(name, own)
      return session.begin(own)
    },
    commit: () => session.commit(),
    rollback: () => session.rollback(),
    close: () => session.close(),
    nested: async (name) => {
      const inner = await db.begin()
      try {
        await inner.run({ sql: name, params: [], asArrays: false })
        await inner.commit()
      } catch (error) {
        await inner.rollback()
        throw error
      }
    },
  }

  const call = (step: Call | 'failing statement') => {
    const name = `${step} ${made.length}`
    const kind = step === 'failing statement' ? 'statement' : step
    model.isLost = server.current?.lost != null
    const isShared = model.is === 'committing' && kind === 'commit'
    const shares = isShared
      ? made.findLast((other) => other.step === 'commit' && other.verdict === 'goes')
      : undefined
    const { openings } = model
    const verdict = model.call(kind)
    if (model.openings > openings) begunBefore = server.begun.length
    const outcome = perform[step](name).then(() => 'ok', codeOf)
    const entry: Made = { step, name, verdict, outcome, shares, settled: null }
    void outcome.then((code) => {
      entry.settled = code
    })
    made.push(entry)
    if (session.isClosed !== (model.is === 'closed')) say(`${name}: isClosed is ${session.isClosed}`)
  }

  /** All that can happen without the server has happened: the model learns what the server's answers came to. */
  const settle = async () => {
    await round()
    model.isLost = server.current?.lost != null
    const isPending = (kinds: readonly Step[]) =>
      made.some(
        ({ step, verdict, settled }) => kinds.includes(step) && verdict === 'goes' && settled === null,
      )
    if (model.is === 'opening') {
      const isThere = session.inTransaction || (!model.begins && engine.stats().checkedOut === 1)
      if (session.inTransaction === model.begins && isThere) model.opened(true)
      else if (!isPending(['statement', 'failing statement', 'begin', 'nested'])) model.opened(false)
    }
    // Where nothing was begun the connection went back at once.
    const hasBegun = server.begun.length > begunBefore
    const isHeld = (options.autocommit || options.shortLivedSessions) && !model.isLost && hasBegun
    if (model.is === 'committing' && !isPending(['commit'])) {
      const last = made.findLast(({ step, verdict }) => step === 'commit' && verdict === 'goes')
      model.ended('committing', last?.settled !== 'ok', isHeld)
    }
    if (model.is === 'rolling back' && !isPending(['rollback'])) model.ended('rolling back', false, isHeld)
    if (session.inTransaction !== (model.is === 'in transaction'))
      say(`inTransaction is ${session.inTransaction} where it should be ${model.is}`)
  }

  for (const step of steps) {
    if (step in perform) {
      // The next call may come in the same tick.
      call(step as Call)
      continue
    }
    await settle()
    if (step === 'lose') server.current?.lose(new DrizzleCeleryError('CONNECTION_LOST', 'lost, as asked for'))
    if (step === 'abort') controller.abort()
    if (step === 'doom' && server.current !== null) server.current.isDoomed = true
    if (step === 'answer' && schedule.count() > 0) await schedule.waitOne()
    await settle()
  }
  const drain = async () => {
    await round()
    while (schedule.count() > 0) {
      await schedule.waitOne()
      await round()
    }
  }
  await drain()
  await settle()

  // What is written belongs to who begins last.
  if (model.is !== 'closed' && !controller.signal.aborted) {
    const rollback = session.rollback().then(() => 'ok', codeOf)
    await drain()
    const before = await rollback
    if (server.current !== null) server.current.isDoomed = false
    const after = perform.statement('after all')
    void after.catch(() => {})
    await drain()
    if (before !== 'ok' || (await after.then(() => 'ok', codeOf)) !== 'ok')
      say('is not usable after rollback()')
  }
  const closed = session.close()
  await drain()
  await closed

  for (const { name, verdict, settled, shares } of made) {
    if (settled === null) say(`${name} never settled`)
    const isRefusal = verdict !== 'goes' && verdict !== 'nothing to do'
    if (isRefusal && settled !== verdict) say(`${name}: ${settled}, not ${verdict}`)
    if (verdict === 'nothing to do' && settled !== 'ok')
      say(`${name}: ${settled}, where there was nothing to do`)
    if (settled?.startsWith('untyped')) say(`${name}: ${settled}`)
    if (shares !== undefined && settled !== shares.settled)
      say(`${name}: ${settled}, where the call it shares was told ${shares.settled}`)
    if (verdict === 'goes' && settled === 'IN_TRANSACTION') say(`${name}: refused, where nothing had begun`)
  }
  // Every begin that was accepted and succeeded has a transaction of its own, with its options.
  for (const { step, name, settled } of made) {
    const its = server.begun.filter((transaction) =>
      isDeepStrictEqual(transaction.options, optionsOf.get(name)),
    )
    if (step === 'begin' && settled === 'ok' && its.length !== 1)
      say(`${name} has ${its.length} transactions`)
  }
  // What succeeded was written exactly once; what was refused, never.
  const written = [
    ...server.kept,
    ...server.begun.filter(({ outcome }) => outcome !== 'kept').flatMap(({ rows }) => rows),
  ]
  for (const { step, name, settled, verdict } of made) {
    const times = written.filter((row) => row === name).length
    if (step === 'statement' && settled === 'ok' && times !== 1) say(`${name} was written ${times} times`)
    if (verdict === 'CLOSED' && times > 0) say(`${name} was refused and written`)
  }
  // Each transaction that was kept has a commit() that said so, and there are no more of those than transactions.
  const commits = made.filter(
    ({ step, verdict, settled }) => step === 'commit' && verdict === 'goes' && settled === 'ok',
  )
  const ends = made.some(({ step }) => step === 'nested') && options.autocommit
  if (server.begun.some(({ outcome }) => outcome === 'kept') && commits.length === 0 && !ends)
    say('kept without a commit()')
  const denied = made.filter(({ step, settled }) => ['commit', 'nested'].includes(step) && settled !== 'ok')
  if (denied.length < server.refused) say('a commit that the server did not do was said to be done')
  if (engine.stats().checkedOut !== 0 || engine.stats().waiting !== 0) say('a connection is still held')
  if (!engine.isIdle) say('the engine still counts the session')
  await engine.dispose({ grace: 0 })
  return [...wrong, ...server.faults]
}

function codeOf(error: unknown): string {
  if (error instanceof DrizzleCeleryError) return error.code
  if (error instanceof Error && /as asked for|is aborted/.test(error.message)) return 'FAILED'
  return `untyped ${error}`
}

const anyOptions = fc.record({
  autocommit: fc.boolean(),
  shortLivedSessions: fc.boolean(),
  beginsLater: fc.boolean(),
})

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>('statement') },
  { weight: 6, arbitrary: fc.constantFrom<Step>('begin', 'commit', 'rollback') },
  { weight: 8, arbitrary: fc.constant<Step>('answer') },
  { weight: 2, arbitrary: fc.constantFrom<Step>('nested', 'failing statement') },
  { weight: 1, arbitrary: fc.constantFrom<Step>('close', 'lose', 'abort', 'doom') },
)

describe('a session', () => {
  it('agrees with the model of its states, whatever is called at the same time', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        anyOptions,
        fc.array(anyStep, { maxLength: 14 }),
        async (schedule, options, steps) => {
          expect(await disagreements(schedule, options, steps)).toEqual([])
        },
      ),
      { numRuns: loops(3_000, 10_000, 600) },
    )
  })

  it(
    'keeps on libSQL what was committed, and nothing else, whatever is called at the same time',
    {
      timeout: 120_000,
    },
    () => losesNothing(':memory:'),
  )
})

describeNeeding('postgresql', 'a session on PostgreSQL', () => {
  const database = freshPostgres()

  it(
    'keeps what was committed, and nothing else, whatever is called at the same time',
    {
      timeout: 120_000,
    },
    () => losesNothing(database.dburi),
  )
})

async function losesNothing(dburi: string): Promise<void> {
  await using manager = new SessionManager()
  const engine: Engine = await manager.getEngine(dburi)
  await engine.run({ sql: 'create table made (name text, program text)', params: [], asArrays: false })
  let programs = 0
  await fc.assert(
    fc.asyncProperty(anyOptions, fc.array(anyMove, { maxLength: 12 }), async (options, moves) => {
      expect(await losses(engine, options, moves, `${++programs}`)).toEqual([])
    }),
    { numRuns: 150 },
  )
}

type Move = Exclude<Call, 'nested'> | 'tick' | 'wait'

const anyMove: fc.Arbitrary<Move> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Move>('statement') },
  { weight: 5, arbitrary: fc.constantFrom<Move>('begin', 'commit', 'rollback') },
  { weight: 5, arbitrary: fc.constantFrom<Move>('tick', 'wait') },
  { weight: 1, arbitrary: fc.constant<Move>('close') },
)

/** Runs a program on a real database, and says what was lost or kept against what its calls were told. */
async function losses(
  engine: Engine,
  options: Options,
  moves: readonly Move[],
  program: string,
): Promise<string[]> {
  // Without Drizzle, which hands statements on some microtasks later.
  const session = new Session<Dialect, Executor>(bare(engine), {}, options)
  const insert = (name: string) => ({
    sql: `insert into made (name, program) values ('${name}', '${program}')`,
    params: [],
    asArrays: false,
  })
  const perform: Record<Exclude<Move, 'tick' | 'wait'>, (name: string) => Promise<unknown>> = {
    statement: (name) => session.db.run(insert(name)),
    begin: () => session.begin(),
    commit: () => session.commit(),
    rollback: () => session.rollback(),
    close: () => session.close(),
  }
  const made: { move: Move; name: string; outcome: Promise<string>; code?: string }[] = []
  for (const move of moves) {
    if (move === 'tick') await Promise.resolve()
    else if (move === 'wait') await Promise.all(made.map(({ outcome }) => outcome))
    else {
      const name = `${move} ${made.length}`
      const entry: (typeof made)[number] = {
        move,
        name,
        outcome: perform[move](name).then(() => 'ok', codeOf),
      }
      made.push(entry)
    }
  }
  for (const entry of made) entry.code = await entry.outcome
  await session.close()

  const rows = namesIn(
    await engine.run({
      sql: `select name from made where program = '${program}'`,
      params: [],
      asArrays: false,
    }),
  )
  const kept = new Set(rows)
  const wrong = made
    // Nor has anything waited for what comes after it.
    .filter(({ code }) => code?.startsWith('untyped') || code === 'NESTED_TRANSACTION_OPEN')
    .map(({ name, code }) => `${name}: ${code}`)
  if (rows.length !== kept.size) wrong.push(`written twice: ${rows}`)
  const usesTransactions = !options.autocommit || made.some(({ move }) => move === 'begin')
  made.forEach(({ move, name, code }, at) => {
    if (move !== 'statement') return
    if (code !== 'ok' && kept.has(name)) wrong.push(`${name} was refused by ${code} and kept`)
    if (code !== 'ok') return
    if (!usesTransactions) {
      if (!kept.has(name)) wrong.push(`${name} was lost without a transaction`)
      return
    }
    if (options.autocommit) return
    const later = made.slice(at + 1)
    const next = later.find(
      (call) => ['commit', 'rollback', 'close'].includes(call.move) && call.code === 'ok',
    )
    if (next?.move === 'commit' && !kept.has(name)) wrong.push(`${name} was lost by ${next.name}`)
    if (next?.move !== 'commit' && kept.has(name)) wrong.push(`${name} was kept without a commit()`)
  })
  if (engine.stats().checkedOut !== 0) wrong.push('a connection is still held')
  return wrong
}

/** An engine whose handles are the executors themselves. */
function bare(engine: Engine): Engine<Dialect, Executor> {
  const { dialect, limits, seenAs } = engine
  const parts: Partial<Engine<Dialect, Executor>> = {
    dialect,
    limits,
    seenAs,
    handle: (executor) => executor,
    checkout: (options) => engine.checkout(options),
    sessionOpened: () => engine.sessionOpened(),
    warnOfDeadline: (seconds) => engine.warnOfDeadline(seconds),
    within: () => engine as Engine<Dialect, Executor>,
  }
  return parts as Engine<Dialect, Executor>
}

function namesIn(answer: unknown): string[] {
  const rows = Array.isArray(answer) ? answer : (answer as { rows: unknown[] }).rows
  return rows.map((row) => String(row.name))
}
