import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { PageError } from './errors.ts'
import type { SettledOptions } from './options.ts'

/** Decides which requests are answered: by their host, by who asks, and by where a form was sent from. */
export class Guard {
  readonly #options: SettledOptions
  /** Cookies and forms bear what is made of it. With a token all processes that know it understand each other's. */
  readonly #secret: Uint8Array
  /** Ports share cookies: each app has a name of its own. */
  readonly #cookie: string

  constructor(options: SettledOptions) {
    const { token, basePath } = options
    this.#options = options
    this.#secret = token === null ? randomBytes(32) : createHash('sha256').update(token).digest()
    this.#cookie = `drizzle_celery_${this.#signed(`cookie ${basePath}`).slice(0, 8)}`
  }

  /** @throws PageError where the request names a host that is not ours: its name was made to point here */
  assertHost(request: Request): void {
    const host = hostOf(request)
    if (this.#allows(host)) return
    throw new PageError(
      403,
      'This host is not allowed',
      'The page does not answer under this name. Its operator lists the names in the option allowedHosts ' +
        '(drizzle-celery web: --allowed-host).',
    )
  }

  /** Whether the request may see the page. @throws what the program's own `auth` throws */
  async admits(request: Request): Promise<boolean> {
    const { auth, token } = this.#options
    if (auth !== null) return (await auth(request)) === true
    const [, bearer] = /^Bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '') ?? []
    if (bearer !== undefined) return this.isToken(bearer)
    const cookie = cookieIn(request, this.#cookie)
    return token !== null && cookie !== null && isSame(cookie, this.#signed('cookie'))
  }

  isToken(given: string): boolean {
    const { token } = this.#options
    return token !== null && isSame(given, token)
  }

  /** The cookie that stands for the token from now on, until the browser is closed. */
  cookieFor(request: Request): string {
    const secure = new URL(request.url).protocol === 'https:' ? '; Secure' : ''
    const path = this.#options.basePath === '' ? '/' : this.#options.basePath
    return `${this.#cookie}=${this.#signed('cookie')}; Path=${path}; HttpOnly; SameSite=Strict${secure}`
  }

  /** What forms that change anything must bear. */
  get formToken(): string {
    return this.#signed('form')
  }

  /** @throws PageError unless a form of this page was sent from this page */
  assertForm(request: Request, form: URLSearchParams): void {
    const origin = request.headers.get('origin')
    const site = request.headers.get('sec-fetch-site')
    const isOwn =
      origin !== null && this.#isOwnOrigin(origin, request) && (site === null || site === 'same-origin')
    if (isOwn && isSame(form.get('form') ?? '', this.formToken)) return
    throw new PageError(
      403,
      'This form was not sent from here',
      'Nothing was changed. Open the page again, and send its form from there.',
    )
  }

  #isOwnOrigin(origin: string, request: Request): boolean {
    // A proxy may end TLS, so the scheme is not compared.
    const [, host] = /^https?:\/\/([^/]+)$/.exec(origin.toLowerCase()) ?? []
    return host !== undefined && (host === hostOf(request) || this.#options.allowedHosts.has(host))
  }

  #allows(host: string): boolean {
    const { allowedHosts } = this.#options
    return allowedHosts.has(host) || allowedHosts.has(host.replace(/:\d+$/, ''))
  }

  #signed(what: string): string {
    return createHmac('sha256', this.#secret).update(what).digest('hex')
  }
}

/** The host that the browser was told: frameworks may put another one into the URL. */
function hostOf(request: Request): string {
  return (request.headers.get('host') ?? new URL(request.url).host).toLowerCase()
}

function cookieIn(request: Request, name: string): string | null {
  for (const each of (request.headers.get('cookie') ?? '').split(';')) {
    const [own, value] = each.trim().split('=')
    if (own === name) return value ?? null
  }
  return null
}

/** Takes as long whatever the difference is. */
function isSame(given: string, wanted: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(wanted))
}
