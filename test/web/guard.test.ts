/** Who may look, and what a request, a result or a name cannot do. */
import { describe, expect, it, vi } from 'vitest'
import { OptionError } from '../../src/errors.ts'
import { type ResultsAppOptions, resultsApp } from '../../src/web/index.ts'
import { asking, form, formTokenIn, inMemory, ORIGIN, seenIn, TOKEN } from './serving.ts'

const NOBODY = { authorization: 'none' }

describe('whoever asks', () => {
  it('is let in by the token, as a bearer or once in the address, and by its cookie from then on', async () => {
    await using backend = inMemory()
    const ask = asking(backend)

    expect((await ask('/')).status).toBe(200)
    const welcome = await ask(`/?state=FAILURE&token=${TOKEN}`, { headers: NOBODY })
    const cookie = welcome.headers.get('set-cookie') ?? ''
    expect(welcome.headers.get('refresh')).toBe('0; url=/?state=FAILURE')
    expect(cookie).toMatch(/^drizzle_celery_[\da-f]{8}=[\da-f]{64}; Path=\/; HttpOnly; SameSite=Strict$/)
    expect([cookie, welcome.text].join()).not.toContain(TOKEN)
    const [kept = ''] = cookie.split(';')
    expect((await ask('/', { headers: { ...NOBODY, cookie: `other=1; ${kept}` } })).status).toBe(200)
    const loggedIn = await ask('/login', form({ token: TOKEN }, NOBODY))
    expect(loggedIn.headers.get('set-cookie')).toBe(cookie)
  })

  it('is refused without it, whatever is asked for, and is told nothing of the database', async () => {
    await using backend = inMemory()
    await backend.storeResult('t', 'secret result', 'SUCCESS')
    const ask = asking(backend, { token: TOKEN, readOnly: false })
    const wrong = [
      NOBODY,
      { authorization: 'Bearer wrong-token-of-length' },
      { ...NOBODY, cookie: 'drizzle_celery_00000000=1' },
    ]

    for (const headers of wrong) {
      for (const path of [
        '/',
        '/task?id=t',
        '/group?id=g',
        '/charts',
        '/live',
        '/live/task?id=t',
        '/?token=wrong',
        '/none',
      ]) {
        const { status, text } = await ask(path, { headers })
        expect([path, status]).toEqual([path, 401])
        expect(text).not.toMatch(/secret result|memory/)
      }
      expect((await ask('/forget', form({ id: 't' }, headers))).status).toBe(401)
    }
    expect((await ask('/login', form({ token: 'wrong' }, NOBODY))).status).toBe(401)
    expect(await backend.taskResultExists('t')).toBe(true)
  })

  it('is asked for by the program instead, and its failure lets nobody in', async () => {
    await using backend = inMemory()
    const onError = vi.fn()
    const auth = async (request: Request) => {
      const user = request.headers.get('x-user')
      if (user === 'broken') throw new Error('canary of the program')
      return user === 'ada'
    }
    const ask = asking(backend, { auth, onError })

    expect((await ask('/', { headers: { 'x-user': 'ada' } })).status).toBe(200)
    expect((await ask('/', { headers: { 'x-user': 'eve' } })).status).toBe(401)
    const broken = await ask('/', { headers: { 'x-user': 'broken' } })
    expect([broken.status, broken.text.includes('canary')]).toEqual([500, false])
    expect(onError).toHaveBeenCalledOnce()
    expect((await asking(backend, { auth: 'everyone' })('/')).status).toBe(200)
  })

  it('must be said', () => {
    const wrong: readonly ResultsAppOptions[] = [
      {},
      { token: TOKEN, auth: 'everyone' },
      { token: 'short' },
      { token: TOKEN, basePath: 'results' },
      { token: TOKEN, allowedHosts: ['http://x/'] },
      { token: TOKEN, pageSize: 0 },
    ]
    for (const options of wrong) expect(() => resultsApp(inMemory(), options)).toThrow(OptionError)
    expect(() => resultsApp(inMemory(), {})).toThrow('Who may look?')
  })
})

describe('a request', () => {
  it('for another host is refused, as a page that had its name point here would send it', async () => {
    await using backend = inMemory()
    const statusFor = async (host: string, options: ResultsAppOptions = { token: TOKEN }) =>
      (await asking(backend, options)('/', { headers: { host } })).status

    for (const host of ['localhost', 'LOCALHOST:8555', '127.0.0.1:1', '[::1]:80'])
      expect(await statusFor(host)).toBe(200)
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '10.0.0.1',
      'localhost:80:80',
      '',
    ])
      expect([host, await statusFor(host)]).toEqual([host, 403])
    const options = { token: TOKEN, allowedHosts: ['results.example.com', 'other.example.com:8443'] }
    expect(await statusFor('Results.example.com:443', options)).toBe(200)
    expect(await statusFor('other.example.com:8443', options)).toBe(200)
    expect(await statusFor('other.example.com:80', options)).toBe(403)
    expect(await statusFor('localhost', options)).toBe(403)
  })

  it('that changes anything must come from a form of the page', async () => {
    await using backend = inMemory()
    await backend.storeResult('t', 1, 'SUCCESS')
    const ask = asking(backend, { token: TOKEN, readOnly: false })
    const token = formTokenIn((await ask('/task?id=t')).text)
    const fields = { id: 't', form: token }

    for (const [sent, status] of [
      [form(fields, { origin: 'http://evil.example' }), 403],
      [form(fields, { origin: 'null' }), 403],
      [form(fields, { origin: `${ORIGIN}.evil.example` }), 403],
      [form(fields, { origin: ORIGIN, 'sec-fetch-site': 'cross-site' }), 403],
      [form({ id: 't' }), 403],
      [form({ id: 't', form: 'f'.repeat(64) }), 403],
      [form(fields, { 'content-type': 'text/plain' }), 415],
      [{ ...form(fields), body: `x=${'y'.repeat(70_000)}` }, 413],
    ] as const) {
      expect((await ask('/forget', sent)).status).toBe(status)
      expect((await ask('/cleanup', sent)).status).toBe(status)
    }
    const withoutOrigin = form(fields)
    expect(
      (
        await ask('/forget', {
          ...withoutOrigin,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      ).status,
    ).toBe(403)
    expect((await ask(`/forget?id=t&form=${token}`)).status).toBe(404)
    expect((await ask('/', { method: 'DELETE' })).status).toBe(405)
    expect((await ask('/live', { method: 'HEAD' })).status).toBe(405)
    expect(await backend.taskResultExists('t')).toBe(true)
    expect((await ask('/forget', form(fields))).status).toBe(200)
  })

  it('is not read further than a form can be long, whoever sent it', async () => {
    await using backend = inMemory()
    const ask = asking(backend)
    let chunks = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new Uint8Array(10_000))
        if (++chunks === 1_000) controller.close()
      },
    })
    const sent = { ...form({}, NOBODY), body, duplex: 'half' as const }

    expect((await ask('/login', sent)).status).toBe(413)
    expect(chunks).toBeLessThan(20)
  })

  it('changes nothing where the page is read-only, and no page has a form for it', async () => {
    await using backend = inMemory()
    await backend.storeResult('t', 1, 'SUCCESS')
    const writing = asking(backend, { token: TOKEN, readOnly: false })
    const token = formTokenIn((await writing('/task?id=t')).text)
    const ask = asking(backend)

    expect((await ask('/task?id=t')).text + (await ask('/charts')).text).not.toContain('method="post"')
    expect((await ask('/forget', form({ id: 't', form: token }))).status).toBe(403)
    expect((await ask('/cleanup', form({ form: token }))).status).toBe(403)
    expect(await backend.taskResultExists('t')).toBe(true)
  })

  it('is answered with headers that keep others out, an error too', async () => {
    await using backend = inMemory()
    const ask = asking(backend)

    for (const path of ['/', '/charts', '/none', '/?since=x', '/task?id=none']) {
      const { headers } = await ask(path)
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toMatch(/unsafe|\*|http/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).toBe('same-origin')
      expect(headers.get('cache-control')).toBe('no-store')
    }
  })

  it('waits for its turn, and not for ever', async () => {
    await using backend = inMemory()
    const patient = asking(backend, { token: TOKEN, timeout: 25 })
    const hasty = asking(backend, { token: TOKEN, timeout: 0.5 })
    let letGo = () => {}
    const gate = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const list = vi.spyOn(backend, 'list').mockImplementation(async () => {
      await gate
      return { items: [], cursor: null }
    })
    const all = Promise.all(Array.from({ length: 100 }, () => patient('/')))
    await expect.poll(() => list.mock.calls.length).toBe(8)
    expect((await hasty('/')).status).toBe(504)
    letGo()

    const statuses = (await all).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(72)
    expect(statuses.filter((status) => status === 503)).toHaveLength(28)
  })
})

describe('what somebody stored', () => {
  const EVIL = `"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\u0000\u001b[2J&lt;`
  const STORABLE = EVIL.replace('\u0000', '')

  it('is a text in every place where it is shown', async () => {
    await using backend = inMemory()
    const request = {
      ...{ task: STORABLE, args: [STORABLE], kwargs: { [STORABLE]: STORABLE }, hostname: STORABLE },
      deliveryInfo: { routingKey: STORABLE },
    }
    const id = STORABLE.slice(0, 150)
    await backend.storeResult(
      id,
      { [STORABLE]: [STORABLE, new Map([[STORABLE, new Set([STORABLE])]])] },
      'SUCCESS',
      { request },
    )
    const error = Object.assign(new Error(STORABLE), { name: 'Evil"><script>' })
    await backend.markAsFailure('failed', error, { request, traceback: `${STORABLE}\n${STORABLE}` })
    await backend.storeResult('own', 1, '<script>"\u202e', { request })
    await backend.saveGroup(id, [id])
    const query = new URLSearchParams({ id: STORABLE.slice(0, 150) })
    const evil = new URLSearchParams({ name: STORABLE, worker: STORABLE, queue: STORABLE, state: STORABLE })
    const ask = asking(backend)
    const paths = [
      '/',
      `/task?${query}`,
      '/task?id=failed',
      '/task?id=own',
      `/group?${query}`,
      `/?${query}`,
      `/?${evil}`,
      '/charts',
    ]
    paths.push(
      `/?since=${encodeURIComponent(STORABLE)}`,
      `/?sort=${encodeURIComponent(STORABLE)}`,
      `/charts?range=${encodeURIComponent(STORABLE)}`,
    )

    for (const path of paths) {
      const { status, text } = await ask(path)
      expect(text.includes('alert')).toBe(status === 200)
      // All there is of scripts and pictures is our own.
      expect(text.match(/<script/g)).toHaveLength(1)
      expect(['<img', '\u202e', '\u001b'].filter((each) => text.includes(each))).toEqual([])
      for (const [, attributes = ''] of text.matchAll(/<\w+((?:\s[\w-]+(?:="[^"<>]*")?)*)\s*\/?>/g))
        expect(attributes.replace(/"[^"]*"/g, '')).not.toMatch(/\s(?:on\w+|style)=/)
    }
    expect(seenIn((await ask('/task?id=failed')).text)).toContain(String.raw`\u202e`)
  })

  it('cannot have a page open another site behind the token', async () => {
    await using backend = inMemory()
    const app = resultsApp(backend, { token: TOKEN })
    const response = await app(new Request(`${ORIGIN}//evil.example/?token=${TOKEN}`))

    expect([response.status, response.headers.get('refresh')]).toEqual([401, null])
  })

  it('in an error of the database is not told with its password', async () => {
    const backend = inMemory()
    const onError = vi.fn()
    vi.spyOn(backend, 'list').mockRejectedValue(new Error('connect postgresql://u:canary@h failed'))
    const { status, text } = await asking(backend, { token: TOKEN, onError })('/')

    expect([status, text.includes('canary')]).toEqual([500, false])
    expect(onError).toHaveBeenCalledOnce()
    await backend.dispose()
  })
})
