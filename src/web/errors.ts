/** An answer instead of a page, with its status. Visitors read its title and message. */
export class PageError extends Error {
  static override readonly name: string = 'PageError'

  readonly status: number
  readonly title: string
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    title: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.status = status
    this.title = title
    this.headers = headers
  }
}
