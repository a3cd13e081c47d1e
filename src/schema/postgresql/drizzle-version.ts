import * as pgCore from 'drizzle-orm/pg-core'

/** Drizzle 1.0 counts the dimensions of a column where 0.45 has a class for arrays. */
export const isDrizzle1 = !('PgArray' in pgCore)
