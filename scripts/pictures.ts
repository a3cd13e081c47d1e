import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { palettePng } from './palette-png.ts'

/**
 * The pictures of the guides, of a database that has results to show (`scripts/celery-day` makes one): what the command writes, by
 * tmux, as SVG, and the page, by Chromium, as PNG. Wants `npm run build`, tmux and Debian's chromium.
 *
 *     npx tsx scripts/pictures.ts DBURI [terminal|page]
 */
const [dburi = '', only] = process.argv.slice(2)
const root = fileURLToPath(new URL('..', import.meta.url))
const command = process.env['DRIZZLE_CELERY'] ?? join(root, 'dist/cli/main.js')
const directory = join(root, 'docs/pictures')
mkdirSync(directory, { recursive: true })

/** Colours as terminals have them, on a dark ground. */
const COLOURS = ['#5c6370', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd', '#56b6c2', '#dcdfe4']
const [WIDTH, HEIGHT, MARGIN] = [8.4, 19, 16]

const failed = firstOf('--state', 'FAILURE', '--name', 'stock.reserve')
if (only !== 'page') {
  terminal('tasks', 110, 14, 'tasks --limit 12')
  terminal('task', 110, 30, `task ${failed}`)
  terminal('watch', 110, 16, 'watch', 15_000)
}
if (only !== 'terminal') await pages()

function firstOf(...filters: string[]): string {
  const line = execFileSync(process.execPath, [command, 'tasks', dburi, '--json', '--limit', '1', ...filters])
  return JSON.parse(line.toString()).taskId
}

/** What a terminal of that size shows of the command, after it has ended or some time. */
function terminal(name: string, columns: number, rows: number, typed: string, wait?: number): void {
  const tmux = (...args: string[]) => execFileSync('tmux', ['-L', 'dc-pictures', ...args]).toString()
  const line = `npx drizzle-celery ${typed}`
  const [shown, program] = [
    `printf '\\033[32m$\\033[0m %s\\n' '${line}'`,
    `'${process.execPath}' '${command}' ${typed}`,
  ]
  // The dburi comes from DATABASE_URL.
  const script = `export DATABASE_URL='${dburi}'; ${shown}; ${program}; tmux -L dc-pictures wait-for -S done; sleep 60`
  tmux('-f', '/dev/null', 'new-session', '-d', '-s', name, '-x', String(columns), '-y', String(rows), script)
  if (wait === undefined) tmux('wait-for', 'done')
  else execFileSync('sleep', [String(wait / 1_000)])
  const screen = tmux('capture-pane', '-e', '-p', '-t', name)
  tmux('kill-server')
  save(`${name}.svg`, svgOf(screen.trimEnd().split('\n'), columns, line))
}

function svgOf(lines: readonly string[], columns: number, title: string): string {
  const [width, height] = [columns * WIDTH + 2 * MARGIN, lines.length * HEIGHT + 2 * MARGIN]
  const texts = lines.map((line, row) => {
    const y = MARGIN + row * HEIGHT + 14
    return spansOf(line)
      .map(({ text, column, attributes }) => {
        const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
        return `<text x="${(MARGIN + column * WIDTH).toFixed(1)}" y="${y}"${attributes}>${escaped}</text>`
      })
      .join('')
  })
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width.toFixed(0)} ${height}" width="${width.toFixed(0)}" height="${height}" ` +
    'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="14" fill="#dcdfe4" xml:space="preserve">' +
    `<title>${title}</title><rect width="100%" height="100%" rx="8" fill="#1e2127"/>${texts.join('\n')}</svg>\n`
  )
}

interface Span {
  readonly text: string
  readonly column: number
  readonly attributes: string
}

/** Words of one style, each at its column, so that any font keeps them aligned. */
function spansOf(line: string): Span[] {
  const spans: Span[] = []
  let [column, colour, isBold, isDim] = [0, '', false, false]
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences of a terminal
  for (const part of line.split(/(\x1b\[[\d;]*m)/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences of a terminal
    const codes = /^\x1b\[([\d;]*)m$/.exec(part)?.[1]
    if (codes === undefined) {
      const attributes = `${colour}${isBold ? ' font-weight="bold"' : ''}${isDim ? ' opacity=".6"' : ''}`
      for (const word of part.matchAll(/\S+(?: \S+)*/g)) {
        spans.push({ text: word[0], column: column + word.index, attributes })
      }
      column += part.length
      continue
    }
    for (const code of codes.split(';').map(Number)) {
      if (code === 0) [colour, isBold, isDim] = ['', false, false]
      else if (code === 1) isBold = true
      else if (code === 2) isDim = true
      else if (code === 22) [isBold, isDim] = [false, false]
      else if (code === 39) colour = ''
      else if (code >= 30 && code <= 37) colour = ` fill="${COLOURS[code - 30]}"`
      else if (code >= 90 && code <= 97) colour = ` fill="${COLOURS[code - 90]}"`
    }
  }
  return spans
}

async function pages(): Promise<void> {
  const server = spawn(process.execPath, [command, 'web', dburi, '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const profile = mkdtempSync(join(tmpdir(), 'dc-pictures-'))
  const [line] = await once(createInterface(server.stdout), 'line')
  const { origin, searchParams } = new URL(JSON.parse(line).url)
  // Chromium's command line takes no token along.
  const proxy = createServer(({ url = '/', headers: { accept = '*/*' } }, answer) => {
    const headers = { accept, authorization: `Bearer ${searchParams.get('token')}` }
    request(`${origin}${url}`, { headers }, (answered) => {
      answer.writeHead(answered.statusCode ?? 502, answered.headers)
      answered.pipe(answer)
    }).end()
  })
  try {
    await once(proxy.listen(0, '127.0.0.1'), 'listening')
    const address = proxy.address()
    const at = `http://127.0.0.1:${typeof address === 'object' ? address?.port : address}`
    await counted(`${at}/`)
    await photograph('page-tasks.png', `${at}/`, '1180,400', profile)
    await photograph('page-task.png', `${at}/task?id=${failed}`, '1000,540', profile)
    await counted(`${at}/charts`)
    await photograph('page-charts.png', `${at}/charts`, '1000,520', profile)
  } finally {
    proxy.close()
    proxy.closeAllConnections()
    server.kill('SIGINT')
    await once(server, 'exit')
    rmSync(profile, { recursive: true, force: true })
  }
}

/** Resolves when a page has its figures: they are counted behind it. */
async function counted(url: string): Promise<void> {
  for (let turn = 0; turn < 120; turn++) {
    if (!(await (await fetch(url)).text()).includes('being counted')) return
    await new Promise((resolve) => setTimeout(resolve, 1_000))
  }
}

async function photograph(name: string, url: string, size: string, profile: string): Promise<void> {
  const quiet = [
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
  ]
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-sync',
    '--hide-scrollbars',
    ...quiet,
  ]
  const file = join(directory, name)
  const options = [
    `--user-data-dir=${profile}`,
    `--window-size=${size}`,
    `--screenshot=${file}`,
    '--timeout=8000',
  ]
  const browser = spawn('chromium', [...flags, ...options, url], { stdio: 'ignore', timeout: 120_000 })
  await once(browser, 'exit')
  writeFileSync(file, palettePng(readFileSync(file)))
  tell(name, statSync(file).size)
}

function save(name: string, text: string): void {
  writeFileSync(join(directory, name), text)
  tell(name, text.length)
}

function tell(name: string, bytes: number): void {
  console.log(`${name}: ${(bytes / 1_000).toFixed(0)} kB`)
}
