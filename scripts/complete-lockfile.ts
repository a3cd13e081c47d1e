/**
 * Adds to package-lock.json the packages for other platforms that npm left out of it.
 *
 * npm forgets an optional dependency that its registry cannot show, as a mirror for one platform cannot; then `npm ci`
 * refuses the lockfile everywhere. Names, versions and platforms follow from the packages that ask for them; only
 * their integrity stays unknown. Run `npm run lock` after a change of dependencies.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface LockedPackage {
  readonly version?: string
  readonly license?: string
  readonly engines?: object
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const systems = [
  'aix',
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
]
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64']

const file = fileURLToPath(new URL('../package-lock.json', import.meta.url))
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, LockedPackage> }
const missing = Object.entries(lock.packages).flatMap(([path, owner]) =>
  Object.entries(owner.optionalDependencies ?? {})
    .filter(([name]) => !placesOf(name, path).some((place) => place in lock.packages))
    .map(([name, version]) => ({ name, version, owner })),
)

for (const { name, version, owner } of missing) {
  if (!/^\d/.test(version)) throw new Error(`${name} is wanted as ${version}, which names no one version`)
  lock.packages[`node_modules/${name}`] = {
    version,
    ...platformOf(name),
    ...{ dev: true, optional: true },
    ...(owner.license === undefined ? {} : { license: owner.license }),
    ...(owner.engines === undefined ? {} : { engines: owner.engines }),
  }
}
lock.packages = Object.fromEntries(
  Object.entries(lock.packages).sort(([one], [other]) => (one < other ? -1 : 1)),
)
if (missing.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`${missing.length} packages added to package-lock.json`)

/** Where Node looks for a dependency of the package at `path`. */
function placesOf(name: string, path: string): string[] {
  const folders = path.split('/node_modules/')
  const nested = folders.map((_, index) => [...folders.slice(0, index + 1), name].join('/node_modules/'))
  return [...nested, `node_modules/${name}`]
}

/** What `@scope/binding-linux-x64-musl` says of itself. */
function platformOf(name: string): { cpu: string[]; os: string[]; libc?: string[] } {
  const words = name.split(/[-/]/)
  const os = words.find((word) => systems.includes(word))
  const cpu = words.find((word) => processors.includes(word))
  if (!os || !cpu) throw new Error(`${name} is in no registry here, and its name does not tell its platform`)
  if (os !== 'linux') return { cpu: [cpu], os: [os] }
  if (words.some((word) => word.startsWith('musl'))) return { cpu: [cpu], os: [os], libc: ['musl'] }
  if (words.some((word) => word.startsWith('gnu'))) return { cpu: [cpu], os: [os], libc: ['glibc'] }
  return { cpu: [cpu], os: [os] }
}
