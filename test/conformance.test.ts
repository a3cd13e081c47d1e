import { conformance } from './conformance.ts'
import { createPostgres, describeNeeding } from './fixtures/servers.ts'

describeNeeding('postgresql', 'postgres-js', () => {
  conformance('conformance', {
    create: createPostgres,
    failureDooms: true,
    isStatic: false,
    oneWriter: false,
  })
})
