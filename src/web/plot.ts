import type { DoneCount } from '../backend/done-counts.ts'
import { type Counted, RANGES, type Step } from './history.ts'
import { type Html, html } from './html.ts'
import { badge, numberOf } from './page.ts'

/** How a task can be done, in the order of the layers of a chart from below. */
export const OUTCOMES = ['SUCCESS', 'FAILURE', 'REVOKED'] as const

/** A number for each outcome. */
export type Tally = Readonly<Record<(typeof OUTCOMES)[number], number>>

/** The numbers of each outcome, all names and workers together. */
export function tallyOf(counts: readonly DoneCount[]): Tally {
  const sum = (outcome: string) =>
    counts.reduce((total, { status, tasks }) => (status === outcome ? total + tasks : total), 0)
  return { SUCCESS: sum('SUCCESS'), FAILURE: sum('FAILURE'), REVOKED: sum('REVOKED') }
}

export function sumOf(tally: Tally): number {
  return OUTCOMES.reduce((sum, outcome) => sum + tally[outcome], 0)
}

/** Units of the drawing; it is stretched to the width of the page. */
const WIDTH = 1_000
const HEIGHT = 100
const CLASSES = { SUCCESS: 'success', FAILURE: 'failure', REVOKED: 'revoked' } as const
const WORDS = { SUCCESS: 'succeeded', FAILURE: 'failed', REVOKED: 'were revoked' } as const

/** Bars over time, each with its outcomes one above the other; the same as a table for who cannot see them. */
export function plotOf(counted: Counted): Html {
  const { steps, range } = counted
  const bars = steps.map((step) => ({ step, tally: tallyOf(step.counts ?? []) }))
  const total = tallyOf(steps.flatMap(({ counts }) => counts ?? []))
  const most = niceAbove(Math.max(...bars.map(({ tally }) => sumOf(tally))))
  const summary = OUTCOMES.map((outcome) => `${numberOf(total[outcome])} ${WORDS[outcome]}`).join(', ')
  return html`<figure class="plot">
<figcaption>${OUTCOMES.map((outcome) => html`${badge(outcome)} <b>${numberOf(total[outcome])}</b> `)}</figcaption>
<div class="drawing">
<div class="scale" aria-hidden="true"><span>${numberOf(most)}</span><span>${numberOf(most / 2)}</span><span>0</span></div>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="In ${RANGES[range].title}: ${summary}">
<path class="grid" d="M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}"/>
${bars.map(({ step, tally }, at) => barOf(step, tally, { at, of: bars.length, most, range }))}
</svg>
<div class="times" aria-hidden="true">${labelsOf(counted)}</div>
</div>
<details class="numbers"><summary>As a table</summary>
<table><thead><tr><th scope="col">From (UTC)</th><th scope="col" class="number">Succeeded</th><th scope="col" class="number">Failed</th><th scope="col" class="number">Revoked</th></tr></thead>
<tbody>
${bars
  .filter(({ tally }) => sumOf(tally) > 0)
  .map(
    ({ step, tally }) =>
      html`<tr><th scope="row">${momentOf(step.from)}</th>${OUTCOMES.map((outcome) => html`<td class="number">${numberOf(tally[outcome])}${step.isCut && '+'}</td>`)}</tr>\n`,
  )}
</tbody></table></details>
</figure>`
}

interface Place {
  readonly at: number
  readonly of: number
  readonly most: number
  readonly range: keyof typeof RANGES
}

function barOf(step: Step, tally: Tally, { at, of, most }: Place): Html {
  const pitch = WIDTH / of
  const [x, width] = [rounded(at * pitch + pitch * 0.1), rounded(pitch * 0.8)]
  if (step.counts === null)
    return html`<rect class="unknown" x="${x}" y="0" width="${width}" height="${HEIGHT}"/>\n`
  const words = OUTCOMES.map((outcome) => `${numberOf(tally[outcome])} ${WORDS[outcome]}`).join(', ')
  let top = HEIGHT
  const layers = OUTCOMES.map((outcome) => {
    const height = rounded((tally[outcome] / most) * HEIGHT)
    if (height === 0) return null
    top = rounded(top - height)
    return html`<rect class="${CLASSES[outcome]}" x="${x}" y="${top}" width="${width}" height="${height}"/>`
  })
  if (sumOf(tally) === 0) return html``
  return html`<g><title>${momentOf(step.from)}: ${words}</title><rect class="reach" x="${rounded(at * pitch)}" y="0" width="${rounded(pitch)}" height="${HEIGHT}"/>${layers}</g>\n`
}

/** A bar within a row of a table: its part of the largest. */
export function shareOf(tally: Tally, most: number): Html {
  let left = 0
  const layers = OUTCOMES.map((outcome) => {
    const width = rounded((tally[outcome] / most) * 100)
    const x = left
    left = rounded(left + width)
    return width === 0
      ? null
      : html`<rect class="${CLASSES[outcome]}" x="${x}" y="0" width="${width}" height="8"/>`
  })
  return html`<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">${layers}</svg>`
}

function labelsOf({ steps, range }: Counted): Html[] {
  const count = 5
  const last = steps.length - 1
  return Array.from({ length: count }, (_, at) => {
    const step = steps[Math.round((last * at) / (count - 1))]
    const iso = new Date(step?.from ?? 0).toISOString()
    return html`<span>${range === '1h' || range === '24h' ? iso.slice(11, 16) : iso.slice(5, 10)}</span>`
  })
}

function momentOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 16).replace('T', ' ')
}

/** The next of 2, 4, 10, 20, 40, 100 …, so that the middle is a whole number. */
function niceAbove(count: number): number {
  if (count <= 2) return 2
  const power = 10 ** Math.floor(Math.log10(count))
  return [1, 2, 4, 6, 8, 10].map((each) => each * power).find((each) => each >= count) ?? count
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}
