// npm run add -- 'a text'
import { dburi, job, manager } from './db.ts'

const [, , text = 'nothing'] = process.argv
await manager.session(dburi, (db) => db.insert(job).values({ text }))
await manager.dispose()
