import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { released } from '../scripts/changelog.ts'

const page = (heading: string, changes = '\n### Added\n\n- Something.\n') =>
  `# Changelog\n\n${heading}\n${changes}\n## [0.4.0] - 2026-11-28\n\n- Older.\n`

describe('the changelog of a release', () => {
  it.each(['## [Unreleased]', '## 0.5.0', '## [0.5.0]'])(
    'has the version and the date for "%s"',
    (heading) => {
      expect(released(page(heading), '0.5.0', '2026-12-01')).toBe(page('## [0.5.0] - 2026-12-01'))
    },
  )

  it('says of some change, and of this version', () => {
    expect(() => released(page('## [Unreleased]', ''), '0.5.0', '2026-12-01')).toThrow(/no change/)
    expect(() => released(page('## 0.6.0'), '0.5.0', '2026-12-01')).toThrow(/announces 0\.6\.0/)
    expect(() => released(page('## [0.5.0] - 2026-11-30'), '0.5.0', '2026-12-01')).toThrow(
      /nothing has changed/,
    )
  })

  it('has headings as ours does', () => {
    const ours = readFileSync(fileURLToPath(new URL('../CHANGELOG.md', import.meta.url)), 'utf8')
    const strange = [...ours.matchAll(/^## .*$/gm)].filter(
      ([heading]) => !/^## (?:\[Unreleased\]|\[?\d+\.\d+\.\d+\]?(?: - \d{4}-\d\d-\d\d)?)$/.test(heading),
    )

    expect(strange).toEqual([])
  })
})
