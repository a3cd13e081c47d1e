import * as drizzle from 'drizzle-orm'

/** Whether Drizzle is 1.0, where for one tables have a casing and columns count their dimensions. */
export const isDrizzle1 = 'defineRelations' in drizzle
