/** Imports point down the list of layers only, and never in a circle, `import type` included. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** The layers of src, the lowest first. A file may import what stands before it here, and its own layer. */
const layers = [
  'errors.ts',
  'retry.ts',
  'pickle',
  'dburi',
  'options',
  'tracing',
  'driver',
  'adapters/postgresql',
  'adapters',
  'engine',
  'models',
  'schema',
  'session',
  'opentelemetry',
  'backend',
  'testing',
  'core.ts',
  'index.ts',
  'web',
  'cli',
]

/** Layers whose folders import nothing of each other. */
const independent = ['adapters']

/** What a layer has of a dialect: a program that uses PostgreSQL loads nothing of MySQL's. */
const RECORD = /^(?:models|backend\/statements)\/(?:postgresql|mysql|sqlite)\.ts$|^schema\/\w+\/database\.ts$/

const src = fileURLToPath(new URL('../src/', import.meta.url))
/** By the folders of their adapters, beside the one of what adapters share. */
const drivers = readdirSync(join(src, 'adapters')).filter((folder) => folder !== 'postgresql')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort()
const importsByFile = new Map(files.map((file) => [file, importsOf(file)]))

describe.each(files)('src/%s', (file) => {
  const imports = importsByFile.get(file) ?? []
  const own = filesIn(imports, file)
  const foreign = imports.filter((specifier) => !specifier.startsWith('.'))

  it('belongs to a layer', () => {
    expect(layers).toContain(layerOf(file))
  })

  it('imports downwards only', () => {
    const upwards = own.filter((path) => layers.indexOf(layerOf(path)) > layers.indexOf(layerOf(file)))

    expect(upwards).toEqual([])
  })

  it('imports no neighbouring folder where these are independent', () => {
    const neighbours = own.filter(
      (path) => layerOf(path) === layerOf(file) && path.split('/')[1] !== file.split('/')[1],
    )

    expect(independent.includes(layerOf(file)) ? neighbours : []).toEqual([])
  })

  it('imports adapters only as the registry or as an adapter', () => {
    const adapters = own.filter((path) => layerOf(path) === 'adapters')
    const mayKnow = file === 'engine/registry.ts' || layerOf(file) === 'adapters'

    expect(mayKnow ? [] : adapters).toEqual([])
  })

  if (!file.startsWith('adapters/') && !['engine/registry.ts', 'dburi/schemes.ts'].includes(file)) {
    it('names no driver: what depends on one stands in its adapter, its row of schemes, or the registry', () => {
      expect(driversNamedIn(file)).toEqual([])
    })
  } else if (drivers.some((driver) => file.startsWith(`adapters/${driver}/`))) {
    it('names no driver but its own', () => {
      const [, own] = file.split('/')

      expect(driversNamedIn(file).filter((driver) => driver !== own)).toEqual([])
    })
  }

  it('imports the index of no folder', () => {
    expect(own.filter((path) => path.endsWith('/index.ts'))).toEqual([])
  })

  it('loads the record of a dialect by import() only', () => {
    const records = filesIn(loadedWith(file), file).filter((path) => RECORD.test(path))

    // `ddl` is synchronous.
    expect(file === 'schema/ddl.ts' ? [] : records).toEqual([])
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

describe('src', () => {
  it('has no files that import each other in a circle', () => {
    const graph = new Map([...importsByFile].map(([file, imports]) => [file, filesIn(imports, file)]))

    expect(cyclesIn(graph)).toEqual([])
  })
})

/** The groups in which each file leads to each other one, by way of whichever files (Tarjan's algorithm). */
function cyclesIn(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>()
  const stack: string[] = []
  const cycles: string[][] = []
  for (const file of graph.keys()) visit(file)
  return cycles.sort()

  /** The earliest file on the stack that `file` leads to. */
  function visit(file: string): number {
    const own = order.size
    order.set(file, own)
    stack.push(file)
    let earliest = own
    for (const next of graph.get(file) ?? []) {
      const known = order.get(next)
      if (known === undefined) earliest = Math.min(earliest, visit(next))
      else if (stack.includes(next)) earliest = Math.min(earliest, known)
    }
    if (earliest === own) {
      const group = stack.splice(stack.indexOf(file))
      if (group.length > 1) cycles.push(group.sort())
    }
    return earliest
  }
}

function layerOf(file: string): string {
  return file.startsWith('adapters/postgresql/') ? 'adapters/postgresql' : (file.split('/')[0] ?? file)
}

/** The files of src among what `file` imports. */
function filesIn(imports: readonly string[], file: string): string[] {
  return imports
    .filter((specifier) => specifier.startsWith('.'))
    .map((path) => normalize(join(dirname(file), path)))
}

/** The drivers that a file names by a text, a name or a key of its code. Types and comments may. */
function driversNamedIn(file: string): string[] {
  const named = new Set<string>()
  visit(sourceOf(file))
  return [...named]

  function visit(node: ts.Node): void {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return
    const text = ts.isStringLiteralLike(node) || ts.isIdentifier(node) ? plain(node.text) : ''
    for (const driver of drivers) if (plain(driver) === text) named.add(driver)
    ts.forEachChild(node, visit)
  }

  function plain(name: string): string {
    return name.toLowerCase().replaceAll(/[-_]/g, '')
  }
}

/** What a file imports: statements, `import type`, re-exports, `import()` and `typeof import()`. */
function importsOf(file: string): string[] {
  const specifiers: string[] = []
  visit(sourceOf(file))
  return specifiers

  function visit(node: ts.Node): void {
    const specifier = specifierOf(node)
    if (specifier && ts.isStringLiteralLike(specifier)) specifiers.push(specifier.text)
    ts.forEachChild(node, visit)
  }
}

/** What is loaded before a file runs. */
function loadedWith(file: string): string[] {
  return sourceOf(file).statements.flatMap((node) => {
    const isTypes =
      (ts.isImportDeclaration(node) && node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword) ||
      (ts.isExportDeclaration(node) && node.isTypeOnly)
    const specifier = specifierOf(node)
    return !isTypes && specifier && ts.isStringLiteralLike(specifier) ? [specifier.text] : []
  })
}

function sourceOf(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(src, file), 'utf8'), ts.ScriptTarget.Latest, true)
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    return node.arguments[0]
  return undefined
}
