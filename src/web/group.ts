import { type FlatMember, flattened, type GroupMember } from '../backend/groups.ts'
import type { State } from '../backend/types.ts'
import { PageError } from './errors.ts'
import { type Html, html } from './html.ts'
import { badge, groupPath, numberOf, type Page, type Site, taskPath } from './page.ts'
import { roomForTrees, treeOf } from './tree.ts'

const MOST_MEMBERS = 1_000
/** Members whose states are asked for. */
const MOST_ASKED = 10_000

/** The members of a saved group. */
export async function groupPage(site: Site, query: URLSearchParams): Promise<Page> {
  const groupId = query.get('id') ?? ''
  const group = groupId === '' || groupId.length > 155 ? null : await site.backend.restoreGroup(groupId)
  if (group === null) {
    throw new PageError(
      404,
      'No such group is saved',
      'Celery saves a group when it is told to (GroupResult.save), or for a chord. Its id has to be given whole.',
    )
  }
  return {
    title: 'Group',
    at: 'tasks',
    main: html`<div data-part="group" id="group"><h1>Group</h1>
<dl class="facts"><div><dt>Group</dt><dd><code class="id">${groupId}</code></dd></div></dl>
<section class="value">${group.other === undefined ? await membersOf(site, group.members) : otherOf(group.other)}</section>
</div>`,
    live: { every: 10 },
  }
}

function otherOf(other: unknown): Html {
  return html`<p>What is saved under this id is no group.</p><div class="tree">${treeOf(other, roomForTrees())}</div>`
}

/** Tasks and groups with their states, and how many are done. No result is fetched. */
export async function membersOf(site: Site, members: readonly GroupMember[]): Promise<Html> {
  const rows = flattened(members)
  const shown = rows.slice(0, MOST_MEMBERS)
  const all = rows.filter(({ isGroup }) => !isGroup)
  const tasks = all.slice(0, MOST_ASKED)
  const states = await site.backend.finished(tasks.map(({ id }) => id))
  const failed = [...states.values()].filter((state) => state !== 'SUCCESS').length
  return html`<p>${progressOf(tasks.length, states.size)} ${numberOf(states.size)} of ${all.length > tasks.length && 'the first '}${numberOf(tasks.length)} done${failed > 0 && html`, ${numberOf(failed)} of them failed or revoked`}.</p>
<table class="members"><thead><tr><th scope="col">State</th><th scope="col">Task</th></tr></thead>
<tbody>
${shown.map((row) => memberRow(site, row, states))}
</tbody></table>
${rows.length > shown.length && html`<p class="dim">… ${numberOf(rows.length - shown.length)} more.</p>`}`
}

function memberRow(site: Site, { id, depth, isGroup }: FlatMember, states: ReadonlyMap<string, State>): Html {
  const state = isGroup ? html`<span class="state other">group</span>` : badge(states.get(id) ?? 'not done')
  const href = isGroup ? groupPath(site, id) : taskPath(site, id)
  return html`<tr><td>${state}</td><td class="id depth-${Math.min(depth, 5)}"><a href="${href}">${id}</a></td></tr>\n`
}

function progressOf(all: number, done: number): Html {
  return html`<progress max="${Math.max(1, all)}" value="${done}" aria-label="Tasks that are done"></progress>`
}
