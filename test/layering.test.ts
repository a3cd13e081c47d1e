/** Imports point down the list of rooms only, `import type` included. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** The rooms of src, the lowest first. A file may import what stands before it here; `x/*` is one room. */
const rooms = [
  'errors',
  'pickle/*',
  'causes',
  'driver-clients',
  'dialect',
  'dburi/*',
  'dburi',
  'redact-dburi',
  'dburi-key',
  'option-text',
  'endpoint',
  'deadline',
  'event-loop',
  'under-way',
  'given-options',
  'repeated-parts',
  'sqlite-root',
  'pool-options',
  'max-response-bytes',
  'check-options',
  'marked-names',
  'redact-message',
  'statement',
  'statement-cache',
  'adapter',
  'within-transaction',
  'handle-client',
  'hidden-params',
  'abort-listeners',
  'limits',
  'import-driver',
  'drizzle-config',
  'postgresql/*',
  'promise-cache',
  'retry',
  'unclosed',
  'wait-queue',
  'adapters/*',
  'pool',
  'transaction',
  'dialect-resolver',
  'engine-options',
  'engine',
  'open-engine',
  'engine-cache',
  'session',
  'models/*',
  'schema/*',
  'session-manager',
  'backend/*',
  'backend',
  'celery-node',
  'celery-ts',
  'index',
]

/** Rooms in which each file, with the folder of its name and the files named `<its name>-…`, knows nothing of its sisters. */
const rowsOfStrangers = ['adapters/*', 'models/*']

const src = fileURLToPath(new URL('../src/', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort()

describe.each(files)('src/%s', (file) => {
  const imports = importsOf(file)
  const own = imports
    .filter((specifier) => specifier.startsWith('.'))
    .map((path) => normalize(join(dirname(file), path)))
  const foreign = imports.filter((specifier) => !specifier.startsWith('.'))

  it('has a room of its own', () => {
    expect(rooms).toContain(roomOf(file))
  })

  it('imports downwards only', () => {
    const upwards = own.filter((path) => rooms.indexOf(roomOf(path)) > rooms.indexOf(roomOf(file)))

    expect(upwards).toEqual([])
  })

  it('imports no sister where sisters are strangers', () => {
    const sisters = own.filter(
      (path) =>
        roomOf(path) === roomOf(file) &&
        memberOf(path) !== memberOf(file) &&
        !memberOf(path).startsWith(`${memberOf(file)}-`),
    )

    expect(rowsOfStrangers.includes(roomOf(file)) ? sisters : []).toEqual([])
  })

  it('knows the adapters only if it is the dialect-resolver', () => {
    const adapters = own.filter((path) => roomOf(path) === 'adapters/*')
    const mayKnow = ['dialect-resolver', 'index', 'adapters/*'].includes(roomOf(file))

    expect(mayKnow ? [] : adapters).toEqual([])
  })

  it('reaches this package by relative paths', () => {
    expect(foreign.filter((specifier) => specifier.startsWith('drizzle-celery'))).toEqual([])
  })

  if (file.startsWith('models/')) {
    it('loads bare: only table builders, so that drizzle-kit can read it', () => {
      const strange = foreign.filter(
        (specifier) => !/^drizzle-orm(\/(pg|mysql|sqlite)-core)?$/.test(specifier),
      )

      expect(strange).toEqual([])
    })
  }
})

function roomOf(file: string): string {
  const [folder, rest] = file.split('/')
  const path = file.replace(/\.ts$/, '')
  return rest === undefined || rooms.includes(path) ? path : `${folder}/*`
}

/** `postgres-js` for `adapters/postgres-js.ts` and for all in `adapters/postgres-js/`. */
function memberOf(file: string): string {
  return file.split('/')[1]?.replace(/\.ts$/, '') ?? ''
}

/** What a file imports: statements, `import type`, re-exports, `import()` and `typeof import()`. */
function importsOf(file: string): string[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(src, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  )
  const specifiers: string[] = []
  visit(source)
  return specifiers

  function visit(node: ts.Node): void {
    const specifier = specifierOf(node)
    if (specifier && ts.isStringLiteralLike(specifier)) specifiers.push(specifier.text)
    ts.forEachChild(node, visit)
  }
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    return node.arguments[0]
  return undefined
}
