import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export interface Output {
  readonly stdout: string
  readonly stderr: string
}

interface InstalledPackage {
  readonly dev?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

const execute = promisify(execFile)

/** A directory in which npm installs packages, and programs run that use them. */
export class Project {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  path(...names: string[]): string {
    return join(this.directory, ...names)
  }

  read(file: string): string {
    return readFileSync(this.path(file), 'utf8')
  }

  write(file: string, text: string): void {
    mkdirSync(dirname(this.path(file)), { recursive: true })
    writeFileSync(this.path(file), text)
  }

  /** @throws also when npm finds that peers do not fit, or that a package does not want this Node */
  async install(manifest: object): Promise<void> {
    this.write('package.json', JSON.stringify({ private: true, type: 'module', ...manifest }))
    const options = ['--prefer-offline', '--engine-strict', '--no-audit', '--no-fund', '--no-package-lock']
    const { stderr } = await run('npm', ['install', ...options], { cwd: this.directory })
    assert.doesNotMatch(stderr, /ERESOLVE|EBADENGINE|peer/)
  }

  /** What is installed beside `asked` and what that needs; tools for development do not count. */
  surplus(asked: readonly string[]): string[] {
    const { packages } = JSON.parse(this.read('node_modules/.package-lock.json')) as {
      packages: Record<string, InstalledPackage>
    }
    const installed = Object.entries(packages)
      .filter(([, { dev }]) => !dev)
      .map(([path, one]) => ({ ...one, name: path.split('node_modules/').at(-1) ?? path }))
    const needed = new Set(asked)
    // A set being walked also shows what is added to it meanwhile.
    for (const name of needed) {
      for (const one of installed.filter((one) => one.name === name)) {
        for (const need of needsOf(one)) needed.add(need)
      }
    }
    return installed.map(({ name }) => name).filter((name) => !needed.has(name))
  }

  /** Checks the types of the project's programs, and makes JavaScript of them. */
  async compile(options: object = {}): Promise<void> {
    const compilerOptions = {
      ...{
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: true,
      },
      ...{ module: 'nodenext', target: 'es2022', lib: ['es2023', 'esnext.disposable'], types: ['node'] },
      ...options,
    }
    this.write('tsconfig.json', JSON.stringify({ compilerOptions, include: ['**/*.ts'] }))
    await this.node(process.execPath, 'node_modules/typescript/bin/tsc')
  }

  /** Runs a program of the project by one Node, in an environment that says nothing. */
  node(binary: string, program: string, cwd = '.', args: readonly string[] = []): Promise<Output> {
    return run(binary, [this.path(program), ...args], { cwd: this.path(cwd), env: {} })
  }
}

function needsOf(one: InstalledPackage): string[] {
  const { dependencies, optionalDependencies, peerDependencies = {}, peerDependenciesMeta = {} } = one
  const peers = Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional)
  return Object.keys({ ...dependencies, ...optionalDependencies }).concat(peers)
}

/** @throws Error with what was printed, when the program fails or does not end by itself */
export async function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Output> {
  try {
    return await execute(program, args, {
      ...options,
      encoding: 'utf8',
      timeout: 300_000,
      killSignal: 'SIGKILL',
    })
  } catch (error) {
    // execFile's message has stderr; the compiler writes to stdout.
    const { message, stdout, killed } = error as Error & Output & { killed: boolean }
    throw new Error([message, stdout, killed ? 'It did not end by itself.' : ''].join('\n').trim(), {
      cause: error,
    })
  }
}
