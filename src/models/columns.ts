// Type-level only. Types of models are said by what makes their columns, as in `ReturnType<typeof integer>`, since a declaration
// keeps such an alias as it is: each major of Drizzle reads its own types from it. What the compiler infers, it would
// write out with the types of the major that it was built with.

/** The types of builders that the columns of Celery's tables are made by in a dialect. */
export interface ColumnKinds {
  readonly id: unknown
  readonly taskId: unknown
  readonly word: unknown
  readonly defaultedWord: unknown
  readonly text: unknown
  readonly bytes: unknown
  readonly date: unknown
  readonly defaultedDate: unknown
  readonly count: unknown
}

/** The columns of a task's result. */
export type TaskColumns<Kinds extends ColumnKinds> = {
  id: Kinds['id']
  taskId: Kinds['taskId']
  status: Kinds['defaultedWord']
  result: Kinds['bytes']
  dateDone: Kinds['date']
  traceback: Kinds['text']
  name: Kinds['word']
  args: Kinds['bytes']
  kwargs: Kinds['bytes']
  worker: Kinds['word']
  retries: Kinds['count']
  queue: Kinds['word']
}

/** The columns of a group's result. */
export type GroupColumns<Kinds extends ColumnKinds> = {
  id: Kinds['id']
  tasksetId: Kinds['taskId']
  result: Kinds['bytes']
  dateDone: Kinds['defaultedDate']
}

/** What a text column may hold: any text. */
export type Words = [string, ...string[]]

/**
 * Added to the type of a function of Drizzle, it takes two to five type arguments without an error, and is `Missing` where
 * the function itself takes another number: `Present` then has what it gives on the other major.
 */
export type AnyArity = (<_1, _2>() => Missing) &
  (<_1, _2, _3>() => Missing) &
  (<_1, _2, _3, _4>() => Missing) &
  (<_1, _2, _3, _4, _5>() => Missing)

interface Missing {
  readonly isMissing: true
}

/** The first of two types that is there. */
export type Present<One, Other> = One extends Missing ? Other : One
