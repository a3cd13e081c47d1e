import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { drizzleMajor } from './test/fixtures/drizzle-major.ts'
import { isFull, isLong } from './test/fixtures/loops.ts'
import SlowFirst from './test/fixtures/slow-first.ts'

const src = fileURLToPath(new URL('./src/', import.meta.url))
const fixtures = fileURLToPath(new URL(`./test/fixtures/drizzle-${drizzleMajor}/`, import.meta.url))
const pglite = fileURLToPath(new URL('./test/fixtures/pglite-template.ts', import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^drizzle-celery$/, replacement: `${src}index.ts` },
      { find: /^drizzle-celery\/core$/, replacement: `${src}core.ts` },
      { find: /^drizzle-celery\/adapters\/(.+)$/, replacement: `${src}adapters/$1/adapter.ts` },
      { find: /^drizzle-celery\/models\/(.+)$/, replacement: `${src}models/$1.ts` },
      { find: /^drizzle-celery\/(celery-.+)$/, replacement: `${src}backend/clients/$1.ts` },
      { find: /^drizzle-celery\/(.+)$/, replacement: `${src}$1/index.ts` },
      { find: /^@electric-sql\/pglite$/, replacement: pglite },
      { find: /^drizzle-major\/(.+)$/, replacement: `${fixtures}$1.ts` },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    tags: [{ name: 'full', description: 'Takes a second or more: FULL=1 runs it, as .ci/run does.' }],
    ...(isFull ? {} : { tagsFilter: ['!full'] }),
    // CI names its own reporters, this one among them.
    reporters: ['default', './test/fixtures/slowest-files.ts'],
    sequence: { sequencer: SlowFirst },
    globalSetup: ['test/fixtures/global-setup.ts'],
    // Processes, not threads: a native driver that aborts takes its own test file along, not the run.
    pool: 'forks',
    // Two cores: two files beside the servers and children that some of them start.
    maxWorkers: 2,
    // A failure that CI shows once is read from its message alone: arrays are written out.
    chaiConfig: { truncateThreshold: 2_000 },
    // The default of a second is no sign of anything on a busy machine.
    expect: { poll: { timeout: 20_000 } },
    testTimeout: isLong ? 600_000 : 30_000,
    hookTimeout: 60_000,
  },
})
