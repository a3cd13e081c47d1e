/**
 * The figures of the README, as ratios against a baseline that is measured in the same run, of the built package as users
 * get it.
 *
 *     POSTGRES_URL=postgresql://postgres@127.0.0.1:5432/postgres MYSQL_URL=mysql://root@127.0.0.1:3306/test npm run bench
 *
 * Servers that are not named are not measured. Names on the command line choose among the benches.
 */
import { backend } from './backend.ts'
import { engines } from './engines.ts'
import { imports } from './imports.ts'
import { insertingMany } from './insert-many.ts'
import { libsql } from './libsql.ts'
import { lists } from './lists.ts'
import { locked } from './locked.ts'
import { manager } from './manager.ts'
import { mysql } from './mysql.ts'
import { pickle } from './pickle.ts'
import { pool } from './pool.ts'
import { postgresql } from './postgresql.ts'
import { schema } from './schema.ts'
import { tracing } from './tracing.ts'

const benches = {
  manager,
  imports,
  pickle,
  libsql,
  locked,
  postgresql,
  mysql,
  schema,
  backend,
  pool,
  engines,
  tracing,
  'insert-many': insertingMany,
}
/** What takes minutes runs only when it is named. */
const long = { lists }
const chosen = process.argv.slice(2)

for (const [name, bench] of Object.entries({ ...benches, ...long })) {
  if (chosen.length > 0 ? !chosen.includes(name) : name in long) continue
  console.log(`\n${name}`)
  await bench()
}
