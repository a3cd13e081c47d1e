import { keepInstances } from '../fixtures/pglite-template.ts'
import { conformance } from './conformance.ts'

// How PGlite starts and stops is tested in pglite/adapter.test.ts.
keepInstances()

// Apart from the others, whose databases are on servers and in files.
conformance('pglite, in memory', {
  create: async () => ({ dburi: 'pglite:', drop: async () => {} }),
  failureDooms: true,
  numbersParameters: true,
  isStatic: true,
})
