import type { Engine } from '../engine.ts'
import { Scope } from '../transaction.ts'
import type { Tables } from './open-tables.ts'
import type { TaskWrite } from './statements/statements.ts'

/** Rows and bytes of one statement. */
const MOST_ROWS = 1_000
const MOST_BYTES = 4_194_304

/**
 * Rows in the pieces that are sent, each task once with what was said of it last, and ordered by id: two writers with
 * the same tasks then lock them in the same order.
 * @param mostBytes that one statement may have, if fewer than we would send anyway
 */
export function piecesOf(writes: readonly TaskWrite[], mostBytes: number): TaskWrite[][] {
  const most = Math.min(MOST_BYTES, mostBytes)
  const last = new Map(writes.map((write) => [write.taskId, write]))
  const sorted = [...last.values()].sort((one, other) => (one.taskId < other.taskId ? -1 : 1))
  const pieces: TaskWrite[][] = []
  let piece: TaskWrite[] = []
  let bytes = 0
  for (const write of sorted) {
    const size = sizeOf(write)
    if (piece.length >= MOST_ROWS || (piece.length > 0 && bytes + size > most)) {
      pieces.push(piece)
      piece = []
      bytes = 0
    }
    piece.push(write)
    bytes += size
  }
  if (piece.length > 0) pieces.push(piece)
  return pieces
}

/**
 * Writes them all or none of them, in one transaction where it takes more than one statement. Where only some are guarded
 * they are no longer in the order of their ids, and two such writers may meet in a deadlock: that is tried again.
 */
export async function storePieces(
  { engine, statements }: Tables,
  pieces: readonly TaskWrite[][],
  isGuarded: (write: TaskWrite) => boolean,
): Promise<number> {
  const parts = pieces.flatMap((piece) => partsOf(piece, isGuarded))
  const [first] = parts
  if (first === undefined) return 0
  if (parts.length === 1) return statements.storeMany(engine, first.writes, first.guarded)

  return withinTransaction(engine, async (transaction) => {
    let written = 0
    for (const { writes, guarded } of parts) {
      written += await statements.storeMany(transaction, writes, guarded)
    }
    return written
  })
}

interface Part {
  readonly writes: readonly TaskWrite[]
  readonly guarded: boolean
}

/** A statement guards all of its rows or none. */
function partsOf(piece: readonly TaskWrite[], isGuarded: (write: TaskWrite) => boolean): Part[] {
  return [false, true]
    .map((guarded) => ({ guarded, writes: piece.filter((write) => isGuarded(write) === guarded) }))
    .filter(({ writes }) => writes.length > 0)
}

async function withinTransaction<Result>(
  engine: Engine,
  work: (transaction: Scope) => Promise<Result>,
): Promise<Result> {
  const lease = await engine.checkout({})
  const scope = Scope.autocommit(lease.connection, engine.limits)
  scope.onEnd = () => lease.release()
  try {
    const transaction = await scope.begin()
    const result = await work(transaction)
    await transaction.commit()
    return result
  } finally {
    // What is still open in it is rolled back.
    await scope.close()
  }
}

function sizeOf({ retries, ...fields }: TaskWrite): number {
  return Object.values(fields).reduce((sum, field) => sum + (field?.length ?? 0), 0)
}
