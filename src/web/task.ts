import { taskErrorOf } from '../backend/column.ts'
import type { TaskError } from '../backend/errors.ts'
import { type GroupMember, memberIn } from '../backend/groups.ts'
import { EXCEPTION_STATES, READY_STATES, type TaskMeta } from '../backend/types.ts'
import { toError } from '../errors.ts'
import { PageError } from './errors.ts'
import { membersOf } from './group.ts'
import { type Content, type Html, html } from './html.ts'
import { badge, groupPath, numberOf, type Page, pathTo, type Site, taskPath, timeOf } from './page.ts'
import { roomForTrees, treeOf } from './tree.ts'

/** The end of a traceback says what happened: that is shown, so many characters of it. */
const LONGEST_TRACEBACK = 100_000

/** All that is stored of a task. */
export async function taskPage(site: Site, query: URLSearchParams): Promise<Page> {
  const taskId = query.get('id') ?? ''
  if (taskId === '' || taskId.length > 155) throw notThere(taskId)
  const meta = await site.backend.getTaskMeta(taskId)
  // A row may say PENDING, too.
  if (meta.status === 'PENDING' && !(await site.backend.taskResultExists(taskId))) throw notThere(taskId)
  const isDone = READY_STATES.has(meta.status)
  return {
    title: `${meta.status} ${meta.name ?? taskId}`,
    at: 'tasks',
    main: html`<div data-part="task" id="task">
<h1>${meta.name ?? 'Task'} ${badge(meta.status)}</h1>
${factsOf(site, meta)}
${await outcomeOf(site, meta)}
</div>
${!site.options.readOnly && forgetForm(site, taskId)}`,
    live: isDone ? undefined : { from: pathTo(site, `/live/task?${new URLSearchParams({ id: taskId })}`) },
  }
}

function factsOf(site: Site, { taskId, dateDone, worker, queue, retries }: TaskMeta): Html {
  const fact = (name: string, value: Content) =>
    value === null || value === undefined ? null : html`<div><dt>${name}</dt><dd>${value}</dd></div>\n`
  const listedBy = (filter: 'worker' | 'queue', value: string) =>
    html`<a class="quiet" href="${pathTo(site, `/?${new URLSearchParams({ [filter]: value })}`)}">${value}</a>`
  return html`<dl class="facts">
${fact('Task', html`<code class="id">${taskId}</code>`)}
${fact('Done', timeOf(dateDone))}
${fact('Worker', worker ? listedBy('worker', worker) : null)}
${fact('Queue', queue ? listedBy('queue', queue) : null)}
${fact('Retries', retries == null ? null : numberOf(retries))}
</dl>`
}

async function outcomeOf(site: Site, meta: TaskMeta): Promise<Html> {
  const room = roomForTrees()
  const value = (property: 'args' | 'kwargs' | 'stamps') =>
    Object.hasOwn(meta, property)
      ? sectionOf(property, () => {
          const stored = meta[property]
          return stored === null || stored === undefined ? null : treeOf(stored, room)
        })
      : null
  return html`
${resultOf(site, meta, room)}
${tracebackOf(meta.traceback)}
${value('args')}
${value('kwargs')}
${await childrenOf(site, meta)}
${value('stamps')}`
}

const TITLES = {
  result: 'Result',
  args: 'Arguments',
  kwargs: 'Keyword arguments',
  stamps: 'Stamps',
  children: 'Started tasks',
} as const

/** A part of the page; where its value cannot be decoded, why. */
function sectionOf(property: keyof typeof TITLES, show: () => Html | null): Html | null {
  let shown: Html | null
  try {
    shown = show()
  } catch (error) {
    shown = html`<p class="unreadable">It cannot be shown: ${toError(error).message}</p>`
  }
  if (shown === null) return null
  return html`<section class="value"><h2>${TITLES[property]}</h2>
${shown}
</section>`
}

function resultOf(site: Site, meta: TaskMeta, room: ReturnType<typeof roomForTrees>): Html | null {
  return sectionOf('result', () => {
    const { status, result } = meta
    if (EXCEPTION_STATES.has(status))
      return result === null && status !== 'REVOKED' ? null : exceptionOf(taskErrorOf(meta), room)
    const member = memberIn(result)
    const link = member === undefined ? null : html`<p>${memberLink(site, member)}</p>`
    return html`${link}<div class="tree">${treeOf(result, room)}</div>`
  })
}

function exceptionOf(
  { excType, excModule, excMessage }: TaskError,
  room: ReturnType<typeof roomForTrees>,
): Html {
  const module =
    excModule === null || excModule === 'builtins' ? null : html`<span class="dim">${excModule}.</span>`
  const isText = excMessage.every((each) => typeof each === 'string' || typeof each === 'number')
  const text = isText ? excMessage.join(', ') : ''
  const isShort = isText && text.length <= 2_000
  return html`<p class="exception">${module}<b>${excType}</b>${isShort && text !== '' && html`: ${text}`}</p>
${!isShort && html`<div class="tree">${treeOf(excMessage, room)}</div>`}`
}

function tracebackOf(traceback: string | null): Html | null {
  if (traceback === null || traceback.trim() === '') return null
  const shown = traceback.slice(-LONGEST_TRACEBACK).trimEnd()
  const lines = shown.split(/\r?\n/)
  return html`<section class="value"><h2>Traceback</h2>
${shown.length < traceback.trimEnd().length && html`<p class="dim">The last ${numberOf(LONGEST_TRACEBACK)} of ${numberOf(traceback.length)} characters.</p>`}
<pre class="traceback" tabindex="0" aria-label="Traceback">${lines.map((line, at) => {
    if (at === lines.length - 1) return html`<b>${line}</b>`
    return /^\s+File "/.test(line) ? html`<span class="frame">${line}</span>\n` : html`${line}\n`
  })}</pre>
</section>`
}

async function childrenOf(site: Site, meta: TaskMeta): Promise<Html | null> {
  if (!Object.hasOwn(meta, 'children')) return null
  let members: GroupMember[] = []
  const unreadable = sectionOf('children', () => {
    const { children } = meta
    members = Array.isArray(children) ? children.flatMap((child) => memberIn(child) ?? []) : []
    return null
  })
  if (unreadable !== null || members.length === 0) return unreadable
  return html`<section class="value"><h2>${TITLES.children}</h2>
${await membersOf(site, members)}
</section>`
}

function memberLink(site: Site, { id, children }: GroupMember): Html {
  return children === undefined
    ? html`It returned the task <a class="id" href="${taskPath(site, id)}">${id}</a>`
    : html`It returned the group <a class="id" href="${groupPath(site, id)}">${id}</a>`
}

function forgetForm(site: Site, taskId: string): Html {
  return html`<form class="danger" method="post" action="${pathTo(site, '/forget')}">
<input type="hidden" name="form" value="${site.formToken}"><input type="hidden" name="id" value="${taskId}">
<details><summary>Forget this result</summary><p>Its row is deleted, for every reader.</p><button type="submit">Forget it</button></details>
</form>`
}

function notThere(taskId: string): PageError {
  const what = taskId === '' ? 'No task is named' : 'Nothing is stored of this task'
  return new PageError(
    404,
    what,
    'It was never sent, or waits for a worker, or its result expired. Celery calls such a task PENDING.',
  )
}
