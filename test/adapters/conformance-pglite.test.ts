import { conformance } from './conformance.ts'

// Apart from the others: each of its databases takes a second to start.
conformance('pglite, in memory', {
  create: async () => ({ dburi: 'pglite:', drop: async () => {} }),
  failureDooms: true,
  numbersParameters: true,
  isStatic: true,
})
