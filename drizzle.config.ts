import { defineConfig } from 'drizzle-kit'

/** One config for every dialect: `DIALECT=sqlite npx drizzle-kit generate`. */
const dialects = ['postgresql', 'mysql', 'sqlite'] as const

const wanted = process.env['DIALECT'] ?? 'postgresql'
const dialect = dialects.find((known) => known === wanted)
if (dialect === undefined) throw new Error(`DIALECT=${wanted} is not one of ${dialects.join(', ')}`)

export default defineConfig({
  dialect,
  schema: `./src/models/${dialect}.ts`,
  out: `./drizzle/${dialect}`,
})
