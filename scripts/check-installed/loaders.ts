import { type Project, run } from './project.ts'

type Dependencies = Readonly<Record<string, string>>

/** What finds packages in its own way, and says in its own words that there is none. */
export interface Loader {
  readonly name: string
  /** Installs the dependencies in the project, and runs its `missing.js` there. */
  prove(project: Project, dependencies: Dependencies): Promise<unknown>
}

export const loaders: readonly Loader[] = [
  {
    name: 'Yarn Plug-and-Play',
    async prove(project, dependencies) {
      const yarn = (...args: string[]) =>
        run('npx', ['--yes', '--package=@yarnpkg/cli-dist@4.18.1', 'yarn', ...args], {
          cwd: project.directory,
        })
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
      await yarn('install')
      await yarn('node', 'missing.js')
    },
  },
  {
    name: 'Jest',
    async prove(project, dependencies) {
      const jest = { testEnvironment: 'node', transform: {} }
      await project.install({ dependencies, devDependencies: { jest: '30.5.2' }, jest })
      project.write('missing.test.js', "test('tells', () => import('./missing.js'))")
      const args = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js']
      await run(process.execPath, args, { cwd: project.directory })
    },
  },
]
