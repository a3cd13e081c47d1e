import { type Output, type Project, run } from './project.ts'

export type Dependencies = Readonly<Record<string, string>>

/** What installs packages in another way than npm does. */
export interface Installer {
  readonly name: string
  install(project: Project, dependencies: Dependencies): Promise<unknown>
  /** Runs the project's `main.js`. @param binary that of Node, where the installer has none of its own */
  runMain(project: Project, binary: string, args: readonly string[]): Promise<Output>
}

export const installers: readonly Installer[] = [
  {
    name: 'pnpm',
    // In its node_modules a package finds only what it asks for.
    async install(project, dependencies) {
      project.write('package.json', JSON.stringify({ private: true, type: 'module', dependencies }))
      const args = ['--yes', '--package=pnpm@10', 'pnpm', 'install', '--prefer-offline', '--ignore-workspace']
      await run('npx', [...args, `--store-dir=${project.path('.store')}`], { cwd: project.directory })
    },
    runMain: (project, binary, args) => project.node(binary, 'main.js', '.', args),
  },
  {
    name: 'Yarn Plug-and-Play',
    install: installByYarn,
    runMain: (project, _binary, args) => runByYarn(project, 'main.js', args),
  },
]

/** Yarn's Plug'n'Play has no node_modules: packages stay in their archives. */
export async function installByYarn(project: Project, dependencies: Dependencies): Promise<void> {
  const { stdout: registry } = await run('npm', ['config', 'get', 'registry'], { cwd: project.directory })
  const settings = {
    ...{ nodeLinker: 'pnp', globalFolder: './global', npmRegistryServer: registry.trim() },
    ...{ enableTelemetry: false, enableImmutableInstalls: false },
  }
  project.write('package.json', JSON.stringify({ private: true, type: 'module', dependencies }))
  // JSON is YAML.
  project.write('.yarnrc.yml', JSON.stringify(settings))
  // What says that the project ends here.
  project.write('yarn.lock', '')
  await yarn(project, 'install')
}

export function runByYarn(project: Project, program: string, args: readonly string[] = []) {
  return yarn(project, 'node', program, ...args)
}

function yarn(project: Project, ...args: string[]) {
  return run('npx', ['--yes', '--package=@yarnpkg/cli-dist@4.18.1', 'yarn', ...args], {
    cwd: project.directory,
  })
}
