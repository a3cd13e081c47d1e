/** An SQL family, by drizzle-kit's word for it. */
export type Dialect = 'postgresql' | 'mysql' | 'sqlite'
