/**
 * What the page does beyond links and forms, as a module for browsers: it shows changes as they come, looks again where it
 * cannot listen, and moves along the list by the arrow keys. Without it a page is as it was when it was loaded.
 */
export const SCRIPT = `const find = (id) => document.getElementById(id)
const main = find('main'), light = find('live'), pause = find('pause'), said = find('said')
let source = null, timer = 0, paused = false, unsaid = 0, looks = 0

if (main.dataset.live || main.dataset.every) {
  light.hidden = pause.hidden = false
  pause.addEventListener('click', () => {
    paused = !paused
    pause.setAttribute('aria-pressed', String(paused))
    pause.textContent = paused ? 'Go on' : 'Pause'
    if (paused) stop()
    else begin()
  })
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) stop()
    else if (!paused && !source && !timer) begin()
  })
  begin(true)
}

function begin(isFirst) {
  if (main.dataset.every) {
    show('on', 'Live')
    timer = setInterval(lookAgain, Number(main.dataset.every) * 1000)
    if (!isFirst) lookAgain()
  } else {
    listen()
    if (!isFirst) lookAgain()
  }
}

function stop() {
  source?.close()
  clearInterval(timer)
  source = null
  timer = 0
  show('off', 'Paused')
}

function show(state, text) {
  light.dataset.state = state
  if (light.textContent !== text) light.textContent = text
}

function listen() {
  show('off', 'Connecting')
  source = new EventSource(main.dataset.live)
  source.addEventListener('open', () => show('on', 'Live'))
  source.addEventListener('tasks', (event) => apply(JSON.parse(event.data)))
  source.addEventListener('counts', (event) => count(JSON.parse(event.data)))
  for (const event of ['ready', 'changed']) source.addEventListener(event, () => lookAgain())
  source.addEventListener('trouble', () => show('trouble', 'The database does not answer'))
  source.addEventListener('done', () => {
    stop()
    show('off', 'Done')
    pause.hidden = true
    lookAgain()
  })
  source.addEventListener('error', () => {
    // Else the browser connects again by itself.
    if (source?.readyState !== EventSource.CLOSED) return show('off', 'Connecting')
    stop()
    show('on', 'Looking every 10 s')
    timer = setInterval(() => {
      if (++looks % 6 === 0) {
        stop()
        listen()
      } else lookAgain()
    }, 10000)
  })
}

// Loads the page again, and puts the parts that differ in their places.
async function lookAgain() {
  let text = ''
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' } })
    if (response.status === 401) return location.reload()
    if (!response.ok) throw new Error()
    text = await response.text()
  } catch {
    return show('trouble', 'No answer')
  }
  if (paused) return
  const fresh = new DOMParser().parseFromString(text, 'text/html')
  for (const old of document.querySelectorAll('[data-part]')) {
    const part = fresh.getElementById(old.id)
    if (!part || part.innerHTML === old.innerHTML) continue
    const open = [...old.querySelectorAll('details')].map((each) => each.open)
    const details = [...part.querySelectorAll('details')]
    if (open.length === details.length) details.forEach((each, at) => { each.open = open[at] })
    keepingFocus(old, () => old.replaceChildren(...part.childNodes))
  }
  if (light.dataset.state === 'trouble') show('on', 'Live')
}

function keepingFocus(place, change) {
  const { activeElement } = document
  const href = place.contains(activeElement) ? activeElement.getAttribute('href') : null
  change()
  if (href !== null) place.querySelector('a[href="' + CSS.escape(href) + '"]')?.focus({ preventScroll: true })
}

function apply(news) {
  const table = document.querySelector('table.tasks')
  const body = table?.tBodies[0]
  if (!body) return
  const most = Number(table.dataset.grows ?? 0)
  keepingFocus(body, () => {
    for (const { id, row, isNewest } of news) {
      const old = body.querySelector('tr[data-id="' + CSS.escape(id) + '"]')
      if (!row) {
        old?.remove()
        continue
      }
      const made = document.createElement('template')
      made.innerHTML = row
      const fresh = made.content.firstElementChild
      fresh.classList.add('fresh')
      if (old) old.replaceWith(fresh)
      else if (most > 0 && isNewest) body.prepend(fresh)
      else continue
      unsaid++
    }
    while (most > 0 && body.rows.length > most) body.lastElementChild.remove()
  })
  if (body.rows.length > 0) document.querySelector('#tasks .empty')?.remove()
}

// Not each change by itself: a screen reader has other things to say, too.
setInterval(() => {
  if (unsaid > 0) said.textContent = unsaid === 1 ? '1 task changed' : unsaid + ' tasks changed'
  unsaid = 0
}, 10000)

function count(counts) {
  for (const link of document.querySelectorAll('#counts li a')) {
    const state = link.querySelector('.state')?.textContent
    const number = link.querySelector('b')
    if (Object.hasOwn(counts, state) && number.textContent !== counts[state]) number.textContent = counts[state]
  }
  const age = document.querySelector('#counts .age time')
  if (age) age.textContent = 'just now'
}

document.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  const row = event.target.closest?.('table.tasks tbody tr')
  if (!step || !row || event.altKey || event.ctrlKey || event.metaKey) return
  const next = step > 0 ? row.nextElementSibling : row.previousElementSibling
  if (!next) return
  event.preventDefault()
  next.querySelector('a.task').focus()
})
`
