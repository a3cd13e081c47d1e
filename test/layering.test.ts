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
  'driver',
  'adapters/postgresql',
  'adapters',
  'engine',
  'models',
  'schema',
  'session',
  'backend',
  'index.ts',
]

/** Layers whose folders import nothing of each other. */
const independent = ['adapters']

const src = fileURLToPath(new URL('../src/', import.meta.url))
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

  it('imports the index of no folder', () => {
    expect(own.filter((path) => path.endsWith('/index.ts'))).toEqual([])
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
