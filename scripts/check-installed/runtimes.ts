import { type Project, run } from './project.ts'

/** What runs programs, beside Node: npm has each as a package. */
export interface Runtime {
  readonly name: string
  readonly packages: Readonly<Record<string, string>>
  /** What stands before the program. */
  readonly command: readonly string[]
}

export const runtimes: readonly Runtime[] = [
  { name: 'Bun', packages: { bun: '^1.4.5' }, command: ['bun'] },
  { name: 'Deno', packages: { deno: '^2.9.6' }, command: ['deno', 'run', '--quiet', '--allow-all'] },
]

export function runBy({ command }: Runtime, project: Project, program: string, args: readonly string[]) {
  const [name = '', ...flags] = command
  const binary = project.path('node_modules/.bin', name)
  // What they were installed by is a script of Node.
  const env = { PATH: process.env['PATH'], HOME: project.directory }
  return run(binary, [...flags, project.path(program), ...args], { cwd: project.directory, env })
}
