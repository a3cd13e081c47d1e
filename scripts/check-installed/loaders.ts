import { type Dependencies, installByYarn, runByYarn } from './installers.ts'
import { type Project, run } from './project.ts'

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
      await installByYarn(project, dependencies)
      await runByYarn(project, 'missing.js')
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
