import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LockedSchema } from './diff.ts'
import { SchemaError } from './errors.ts'
import { type Claim, claimOf, failed, type Journal, type Migration, mayHaveRun } from './journal.ts'

/** What is to be done, from what is noted. */
type Plan = (noted: ReadonlyMap<string, string>) => {
  readonly unnoted: readonly Migration[]
  readonly pending: readonly Migration[]
}

/** Milliseconds between two looks at a claim of somebody else, and between two signs of life of our own. */
const LOOK = 200
const RENEW = 2_000
/**
 * Milliseconds of silence after which the owner of a claim is taken for dead. A DDL statement holds up the writes of a
 * whole Galera cluster, signs of life too; so there is one of our own between the two, which waits for it.
 */
const SILENCE = 15_000
const SILENCE_AFTER_DDL = 5_000

/**
 * Runs migrations, each once, where a lock keeps out those only who are on the same node. Before a migration is run a
 * claim to it is committed, which conflicts with that of any other node, and each statement is begun by a change of that
 * row; who finds that it was changed by another has lost it. Of who is silent for 20 s a claim is taken over if no statement
 * of the migration was begun. Later nobody can know how far it came: that is told, and left to people.
 */
export async function runClaimed(
  plan: Plan,
  journal: Journal,
  locked: LockedSchema,
): Promise<{ readonly ran: string[]; readonly before: ReadonlyMap<string, string> }> {
  const owner = ownName()
  const ran: string[] = []
  let canRenew = false
  for (;;) {
    const before = (await journal.read(locked)) ?? new Map<string, string>()
    const { unnoted, pending } = plan(before)
    const others = stuck(before)
    if (others !== undefined) {
      await takeOverOrWait(others, { plan, journal, locked })
      continue
    }
    const done = unnoted.filter((migration) => !pending.includes(migration))
    const [next] = pending
    // What is in the way may still have to come to this node.
    if (done.length > 0) {
      if (!(await journal.noteAll(done, locked))) await sleep(LOOK)
    } else if (next === undefined) return { ran, before }
    else if (!canRenew) {
      await journal.assertRenewable()
      canRenew = true
    } else if (!(await journal.claim(next, { owner, statement: 0 }, locked))) await sleep(LOOK)
    else if (await run(next, owner, journal, locked)) ran.push(next.name)
  }
}

/** A migration that was begun, and is not noted as run. */
interface Stuck {
  readonly name: string
  readonly claim: Claim
  error(journal: Journal, migrations: readonly Migration[]): SchemaError
}

/** The first migration that somebody has begun. */
export function stuck(noted: ReadonlyMap<string, string>): Stuck | undefined {
  for (const [name, hash] of noted) {
    const claim = claimOf(hash)
    if (claim !== undefined) return { name, claim, error: (...rest) => halfDone(name, claim, ...rest) }
  }
  return undefined
}

interface Waiting {
  readonly plan: Plan
  readonly journal: Journal
  readonly locked: LockedSchema
}

/** Returns when what is noted has changed. @throws SchemaError when the owner is dead, in the middle of it */
async function takeOverOrWait(begun: Stuck, { plan, journal, locked }: Waiting): Promise<void> {
  const { name, claim } = begun
  if (await isOver(begun, SILENCE, journal, locked)) return
  await journal.create(locked)
  if (await isOver(begun, SILENCE_AFTER_DDL, journal, locked)) return
  const migrations = plan(new Map()).unnoted
  if (claim.statement > 0) throw halfDone(name, claim, journal, migrations)
  // Free for the next round; its owner, if it lives after all, begins no statement without it.
  await journal.release({ name }, claim, locked)
}

/** Whether within some time its owner gives a sign of life, or the claim has become another one or none. */
async function isOver(
  { name, claim }: Stuck,
  time: number,
  journal: Journal,
  locked: LockedSchema,
): Promise<boolean> {
  const first = await journal.signOf(name, claim, locked)
  if (first === undefined) return true
  for (const until = performance.now() + time; performance.now() < until; ) {
    await sleep(LOOK)
    if ((await journal.signOf(name, claim, locked)) !== first) return true
  }
  return false
}

/**
 * Runs a claimed migration. False where the claim was lost before a statement was begun. A migration that failed in its first
 * statement is free again; after that its claim stays, so that nobody begins it anew.
 */
async function run(
  migration: Migration,
  owner: string,
  journal: Journal,
  locked: LockedSchema,
): Promise<boolean> {
  const { name, statements } = migration
  let claim: Claim = { owner, statement: 0 }
  const alive = setInterval(() => {
    // One that does not come is made good by the next, or by the statements.
    journal.renew(migration, claim).catch(() => {})
  }, RENEW)
  try {
    for (const [at, statement] of statements.entries()) {
      const next = { owner, statement: at + 1 }
      if (!(await journal.exchange(migration, claim, next, locked))) {
        if (at === 0) return false
        throw failed(
          `run the migration ${name}`,
          new Error('its claim is gone'),
          adviceFor(migration, at, journal),
          [],
        )
      }
      claim = next
      try {
        await locked.run([statement])
      } catch (cause) {
        // Where it cannot be given back, its connection is gone, and people are to look.
        const isFree =
          at === 0 &&
          !mayHaveRun(cause) &&
          (await journal.release(migration, claim, locked).then(
            () => true,
            () => false,
          ))
        const what = `run statement ${at + 1} of ${statements.length} of the migration ${name}`
        const advice = isFree
          ? 'None of its statements was run. The migrations before this one stay.'
          : adviceFor(migration, at, journal)
        throw failed(what, cause, advice, statements.slice(at))
      }
    }
    await journal.finish(migration, claim, locked)
    return true
  } finally {
    clearInterval(alive)
  }
}

/** @param run how many of its statements surely were run */
function adviceFor(migration: Migration, run: number, journal: Journal): string {
  const before =
    run === 0 ? 'Its first statement may have been run' : `Its statements up to ${run} were run and stay`
  return `${before}, and nobody runs it again by himself. ${byHand(migration, journal)}`
}

function byHand(migration: Migration, journal: Journal): string {
  return (
    `Run the rest by hand and note that: ${journal.finishText(migration)}; ` +
    `or undo it, and have it run anew: ${journal.forgetText(migration)};`
  )
}

function halfDone(
  name: string,
  { owner, statement }: Claim,
  journal: Journal,
  migrations: readonly Migration[],
): SchemaError {
  const migration = migrations.find((each) => each.name === name)
  const statements = migration?.statements.slice(Math.max(0, statement - 1)) ?? []
  const how =
    statement === 0
      ? `None of its statements was begun. To have it run: ${journal.forgetText({ name })};`
      : `Its statement ${statement} of ${migration?.statements.length ?? 'those it has'} was begun, and may have been run. ` +
        (migration === undefined ? '' : byHand(migration, journal))
  return new SchemaError(
    'SCHEMA_MIGRATIONS',
    `Cannot run the migrations: ${name} was begun by ${owner}, who gives no sign of life any more. ${how}`,
    { statements },
  )
}

/** Machine, process and, since both may come again, something random; in 50 characters. */
function ownName(): string {
  return `${hostname().slice(0, 30)}:${process.pid}:${randomBytes(4).toString('hex')}`
}
