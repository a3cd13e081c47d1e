import { OptionDefaults } from 'typedoc'

/** The API reference: `npm run reference` writes it to `reference/`; `npm run check:reference` only checks it. */
export default {
  name: 'drizzle-celery',
  tsconfig: '../tsconfig.build.json',
  // Those of types are found by `npm run check`.
  skipErrorChecking: true,
  entryPoints: [
    '../src/index.ts',
    '../src/core.ts',
    '../src/{backend,driver,opentelemetry,pickle,schema,testing,web}/index.ts',
    '../src/backend/clients/celery-{node,ts}.ts',
    '../src/models/{postgresql,mysql,sqlite}.ts',
  ],
  readme: '../README.md',
  projectDocuments: ['../docs/*.md'],
  out: '../reference',
  excludePrivate: true,
  excludeInternal: true,
  excludeExternals: true,
  // Links to sources would lead to a remote, which a clone need not have.
  disableSources: true,
  highlightLanguages: [...OptionDefaults.highlightLanguages, 'python', 'sql'],
  // knip's, for a name that is another one's alias on purpose.
  blockTags: [...OptionDefaults.blockTags, '@alias'],
  validation: { notExported: false, invalidLink: true, notDocumented: true },
  // Properties often say it all by their names.
  requiredToBeDocumented: ['Class', 'Interface', 'TypeAlias', 'Function', 'Variable', 'Method'],
  intentionallyNotDocumented: [
    'core.SessionManager.createSession.__type.sessionMaker',
    'index.SessionManager.createSession.__type.sessionMaker',
  ],
  treatWarningsAsErrors: true,
}
