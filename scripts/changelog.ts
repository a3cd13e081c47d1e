/** The headings under which a change that is not released yet may stand: `[Unreleased]`, or a version without a date. */
const OPEN = /^## (?:\[Unreleased\]|\[?(?<version>\d[\w.-]*)\]?)[ \t]*$/m

/**
 * The changelog in which what is not released yet bears a version and its date.
 * @throws Error when nothing has changed, or the heading has another version
 */
export function released(changelog: string, version: string, date: string): string {
  const heading = OPEN.exec(changelog)
  if (heading === null) throw new Error('CHANGELOG.md has no heading [Unreleased]: nothing has changed')
  const announced = heading.groups?.['version'] ?? version
  if (announced !== version) throw new Error(`CHANGELOG.md announces ${announced}, and not ${version}`)
  const [changes = ''] = changelog.slice(heading.index + heading[0].length).split(/^## /m)
  if (!/^- /m.test(changes)) throw new Error(`CHANGELOG.md says of no change under "${heading[0]}"`)
  return changelog.replace(OPEN, `## [${version}] - ${date}`)
}
