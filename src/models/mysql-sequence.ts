import type { AnyMySqlColumn } from 'drizzle-orm/mysql-core'

// drizzle-kit loads this file bare: it imports drizzle-orm and nothing else, and awaits nothing.

/** A sequence of MariaDB, which Drizzle cannot describe. MySQL has none: there the column is AUTO_INCREMENT instead. */
export class MysqlSequence {
  static readonly name: string = 'MysqlSequence'

  readonly sequenceName: string
  /** The database it is in; undefined for that of the connection. */
  readonly schema: string | undefined

  constructor(sequenceName: string, schema: string | undefined) {
    this.sequenceName = sequenceName
    this.schema = schema
  }
}

/** A sequence as a model: `prepareModels` creates it on MariaDB; MySQL has none. */
export function mysqlSequence(name: string, schema?: string): MysqlSequence {
  return new MysqlSequence(name, schema)
}

/**
 * Lets a column of a table take its values from a sequence on MariaDB, as `DEFAULT NEXTVAL(sequence)` where its model
 * says `autoincrement()`; `prepareModels` creates the sequence with the table.
 */
export function drawing<Column extends AnyMySqlColumn>(column: Column, sequence: MysqlSequence): Column {
  sequences.set(column, sequence)
  return column
}

/** The sequence that a column draws from on MariaDB. */
export function drawsFrom(column: AnyMySqlColumn): MysqlSequence | undefined {
  return sequences.get(column)
}

const sequences = new WeakMap<AnyMySqlColumn, MysqlSequence>()
