/** The page in a real browser: what its script does, and that it looks as it should, without a complaint of the browser. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import type { DatabaseBackend } from '../../src/backend/database-backend.ts'
import { resultsApp, toNodeHandler } from '../../src/web/index.ts'
import { CHROMIUM, describeNeeding } from '../fixtures/servers.ts'
import { inMemory, TOKEN } from './serving.ts'

describeNeeding('chromium', 'the page in Chromium', () => {
  // Where it cannot listen, the page looks again after 10 s. A busy machine takes as long to load one.
  const patience = 60_000
  vi.setConfig({ testTimeout: 2 * patience, hookTimeout: 2 * patience })
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let server: Server
  let backend: DatabaseBackend
  let address: string
  /** What the browser complained of. */
  const complaints: string[] = []

  beforeAll(async () => {
    backend = inMemory()
    const request = {
      task: 'shop.add',
      args: [1],
      hostname: 'celery@one',
      deliveryInfo: { routingKey: 'celery' },
    }
    for (let at = 0; at < 30; at++)
      await backend.storeResult(`task-${at}`, { sum: [at] }, 'SUCCESS', { request })
    await backend.markAsFailure('failed', new TypeError('no'), {
      request,
      traceback: 'Traceback\nTypeError: no',
    })
    const app = resultsApp(backend, {
      token: TOKEN,
      liveInterval: 0.1,
      pageSize: 20,
      timeout: 25,
      readOnly: false,
    })
    server = createServer(toNodeHandler(app)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      headless: true,
      timeout: patience,
      args: [
        ...[
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
        ],
        ...['--disable-component-update', '--disable-sync'],
      ],
    })
    context = await browser.newContext()
    context.setDefaultTimeout(patience)
    page = await context.newPage()
    page.on('console', (message) => {
      if (message.type() !== 'log' && message.type() !== 'info') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(`${address}/?token=${TOKEN}`)
    await page.waitForSelector('table.tasks')
  })

  afterAll(async () => {
    await browser?.close()
    server?.closeAllConnections()
    server?.close()
    await backend?.dispose()
  })

  beforeEach(async () => {
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 1280, height: 900 })
    await page.goto(address)
  })

  const ids = () => page.locator('table.tasks a.task').allTextContents()
  const isLive = () => page.waitForSelector('#live[data-state=on]')

  it('was let in by the token, which is no longer in its address', async () => {
    expect(page.url()).toBe(`${address}/`)
    expect(await context.cookies()).toMatchObject([{ httpOnly: true, sameSite: 'Strict' }])
    expect(await page.title()).toBe('Tasks · Celery results')
  })

  it('filters, goes to older tasks and back, and opens a task', async () => {
    expect((await ids())[0]).toBe('failed')
    await page.getByLabel('Id begins with').fill('task-1')
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL(/id=task-1/)
    expect(await ids()).toEqual(['task-1', ...Array.from({ length: 10 }, (_, at) => `task-1${at}`)])
    await page.getByRole('link', { name: 'Clear' }).click()
    await page.getByRole('link', { name: 'Older' }).click()
    await page.waitForURL(/cursor=/)
    expect(await ids()).toContain('task-0')
    await page.getByRole('link', { name: 'Newest' }).click()
    await page.getByRole('link', { name: 'task-29' }).click()
    await page.waitForURL(/\/task\?id=task-29/)
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toContain('shop.add SUCCESS')
    expect(await page.locator('.tree').textContent()).toMatch(/sum\s*list 1 item\s*0\s*29/)
  })

  it('shows tasks as they come and change, and keeps the focus where it is', async () => {
    await isLive()
    await page.locator('a.task', { hasText: 'task-29' }).focus()
    await backend.markAsStarted('live-1', null, { request: { task: 'shop.live' } })
    await page.waitForSelector('tr[data-id="live-1"]')
    expect((await ids())[0]).toBe('live-1')
    expect(await ids()).toHaveLength(20)
    await backend.markAsDone('live-1', 1, { request: { task: 'shop.live' } })
    await page.waitForSelector('tr[data-id="live-1"]:has(.success)')
    expect(await page.evaluate(() => Reflect.get(globalThis, 'document').activeElement.textContent)).toBe(
      'task-29',
    )

    await page.getByRole('button', { name: 'Pause' }).click()
    await backend.markAsStarted('live-2')
    await page.waitForTimeout(500)
    expect(await ids()).not.toContain('live-2')
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.waitForSelector('tr[data-id="live-2"]')
    await backend.forget('live-1')
    await backend.forget('live-2')
  })

  it('shows what changed before it listened', async () => {
    await page.route('**/live*', async (route) => {
      await backend.markAsStarted('between')
      await route.continue()
    })
    await page.goto(address)
    await page.waitForSelector('tr[data-id="between"]')
    await page.unroute('**/live*')
    await backend.forget('between')
  })

  it('shows the progress of a task until it is done', async () => {
    await backend.storeResult('watched', { percent: 10 }, 'PROGRESS')
    await page.goto(`${address}/task?id=watched`)
    await isLive()
    await backend.storeResult('watched', { percent: 55 }, 'PROGRESS')
    await page.locator('.tree', { hasText: '55' }).waitFor()
    await backend.markAsDone('watched', 'the end')
    await page.locator('h1 .success').waitFor()
    await backend.forget('watched')
  })

  it('looks again where it cannot listen', async () => {
    await page.route('**/live*', (route) => route.fulfill({ status: 503 }))
    complaints.length = 0
    await page.goto(address)
    await page.locator('#live', { hasText: 'Looking every 10 s' }).waitFor()
    await backend.markAsStarted('polled')
    await page.waitForSelector('tr[data-id="polled"]')
    await page.unroute('**/live*')
    await backend.forget('polled')
    // The browser tells of the answer that it was given here.
    expect(complaints.filter((text) => !text.includes('503'))).toEqual([])
    complaints.length = 0
  })

  it('is used by the keyboard alone', async () => {
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => Reflect.get(globalThis, 'document').activeElement.textContent)).toBe(
      'Skip to the content',
    )
    await page.keyboard.press('Enter')
    await page.locator('a.task').first().focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowUp')
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/task\?id=task-29/)
  })

  it('has landmarks, one heading and names for all that can be used', async () => {
    for (const path of ['/', '/charts', '/task?id=failed']) {
      await page.goto(address + path)
      for (const role of ['banner', 'main', 'contentinfo'] as const)
        expect(await page.getByRole(role).count()).toBe(1)
      expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1)
      const nameless = page.locator(
        'input:not([type=hidden]):not(label input), button:empty, a:empty, th:not([scope])',
      )
      expect(await nameless.count()).toBe(0)
    }
  })

  it('is dark where the system is, and fits a phone', async () => {
    const background = () =>
      page.evaluate(
        () =>
          Reflect.get(globalThis, 'getComputedStyle')(Reflect.get(globalThis, 'document').body)
            .backgroundColor,
      )
    const light = await background()
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await background()).not.toBe(light)

    await page.setViewportSize({ width: 360, height: 740 })
    for (const path of ['/', '/charts', '/task?id=failed']) {
      await page.goto(address + path)
      const width = await page.evaluate(() => Reflect.get(globalThis, 'document').documentElement.scrollWidth)
      expect([path, width]).toEqual([path, 360])
    }
  })

  it('forgets a result by its form', async () => {
    await backend.storeResult('unwanted', 1, 'SUCCESS')
    await page.goto(`${address}/task?id=unwanted`)
    await page.getByText('Forget this result').click()
    await page.getByRole('button', { name: 'Forget it' }).click()
    await page.getByRole('heading', { name: 'Forgotten' }).waitFor()
    expect(await backend.taskResultExists('unwanted')).toBe(false)
  })

  it('works without JavaScript', async () => {
    const other = await browser.newContext({ javaScriptEnabled: false })
    other.setDefaultTimeout(patience)
    const plain = await other.newPage()
    await plain.goto(`${address}/?token=${TOKEN}`)
    await plain.waitForURL(`${address}/`)
    await plain.locator('.counts a', { hasText: 'FAILURE' }).click()
    await plain.waitForURL(/state=FAILURE/)
    expect(await plain.locator('a.task').allTextContents()).toEqual(['failed'])
    expect(await plain.locator('#live').isVisible()).toBe(false)
    await plain.goto(`${address}/charts?range=1h`)
    await plain.getByRole('img').waitFor()
    await other.close()
  })

  it('had the browser complain of nothing', () => {
    expect(complaints).toEqual([])
  })
})
