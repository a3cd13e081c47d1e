import dns from 'node:dns'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { ConnectError, type ServerTarget } from '../errors.ts'
import { addressOf, isLoopback } from './socket.ts'

/** The words of libpq's `target_session_attrs`. */
export const SESSION_ATTRS = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
] as const

/**
 * What a server must be to be used, by libpq's words; `prefer-standby` is a standby, or any server when none of the hosts
 * is one.
 */
export type TargetSessionAttrs = (typeof SESSION_ATTRS)[number]

/** What to ask for, one time round the hosts after the other: `prefer-standby` goes round again, taking any server. */
function passesFor(attrs: TargetSessionAttrs): readonly TargetSessionAttrs[] {
  return attrs === 'prefer-standby' ? ['standby', 'any'] : [attrs]
}

/** Whether a server that only reads is not the one that was asked for. */
export function isForWriting(attrs: TargetSessionAttrs): boolean {
  return attrs === 'any' || attrs === 'read-write' || attrs === 'primary'
}

/**
 * Milliseconds for which new connections go to the other endpoints. Until then a failover is over; and where the
 * answer that it cannot serve is all that tells it, asking costs a statement.
 */
const PASSED_OVER = 60_000

/** A connection that is left when its server says that it cannot serve. */
export interface Leaving {
  /** Ends it as soon as nobody uses it. */
  leave(reason: Error): void
}

/** The places of one open database's servers, and which of them said that they cannot serve. */
export class Endpoints {
  /** Until when a place is passed over. */
  readonly #until = new Map<string, number>()
  /** The places that were found behind a name. */
  readonly #behind = new Map<string, readonly string[]>()
  readonly #connections = new Map<string, Set<Leaving>>()

  /** Those that are passed over behind the others: where nobody else will do, they are asked again. */
  inOrder(targets: readonly ServerTarget[]): ServerTarget[] {
    const isPassedOver = (target: ServerTarget) => {
      const places = this.#behind.get(placeOf(target)) ?? [placeOf(target)]
      return places.every((place) => this.#isPassedOver(place))
    }
    return [...targets.filter((target) => !isPassedOver(target)), ...targets.filter(isPassedOver)]
  }

  /**
   * Tries one endpoint after the other, and address after address of each.
   * @param targets in the order in which they are to be tried
   * @param attempt makes a connection; `null`, with a failure more, where others are worth a try
   * @throws ConnectError of the last one, with those of all in its cause when there are several; what `attempt` throws
   */
  async first<Connection>(
    product: string,
    attrs: TargetSessionAttrs,
    targets: () => readonly ServerTarget[],
    attempt: (
      route: Route,
      wanted: TargetSessionAttrs,
      failures: ConnectError[],
    ) => Promise<Connection | null>,
  ): Promise<Connection> {
    const failures: ConnectError[] = []
    for (const wanted of passesFor(attrs)) {
      for (const target of this.inOrder(targets())) {
        const route = this.route(target)
        do {
          const connection = await attempt(route, wanted, failures)
          if (connection !== null) return connection
        } while (route.next())
      }
    }
    throw noneWillDo(product, failures)
  }

  /** The way to one endpoint, whose name may have several addresses. */
  route(target: ServerTarget): Route {
    return new Route(target, {
      inOrder: (places) => [
        ...places.filter((place) => !this.#isPassedOver(place)),
        ...places.filter((place) => this.#isPassedOver(place)),
      ],
      found: (places) => this.#behind.set(placeOf(target), places),
    })
  }

  /** A connection to this place is open; it is told when the place is passed over. @returns to be called at its end */
  joined(place: string, connection: Leaving): () => void {
    const others = this.#connections.get(place) ?? new Set()
    this.#connections.set(place, others)
    others.add(connection)
    return () => {
      others.delete(connection)
      if (others.size === 0 && this.#connections.get(place) === others) this.#connections.delete(place)
    }
  }

  /** The server at this place said that it cannot serve: all its connections end, and new ones go elsewhere for a while. */
  passOver(place: string, reason: Error): void {
    this.#until.set(place, performance.now() + PASSED_OVER)
    for (const connection of [...(this.#connections.get(place) ?? [])]) connection.leave(reason)
  }

  #isPassedOver(place: string): boolean {
    const until = this.#until.get(place)
    if (until !== undefined && until <= performance.now()) this.#until.delete(place)
    return this.#until.has(place)
  }
}

/** By what a server is known. An IPv6 address has many spellings, of which a socket tells one and a dburi another. */
function placeOf(target: ServerTarget): string {
  if (!('host' in target) || isIP(target.host) !== 6) return addressOf(target)
  const [address = '', ...zone] = target.host.split('%')
  const { hostname } = new URL(`http://[${address}]`)
  return addressOf({ ...target, host: [hostname.slice(1, -1), ...zone].join('%') })
}

/** What a route asks of its endpoints. */
export interface Places {
  /** Those that are passed over behind the others. */
  inOrder(places: readonly string[]): readonly string[]
  /** The addresses that the name has now. */
  found(places: readonly string[]): void
}

/**
 * The way to one endpoint. A name with several addresses stands for several servers, as in libpq: Node connects to the
 * first that accepts, and where that server will not do, `next()` leads to the others.
 */
export class Route {
  /** The endpoint, as the dburi names it. */
  readonly target: ServerTarget
  readonly #places: Places
  #all: readonly string[] = []
  readonly #tried = new Set<string>()
  /** The one address that is wanted; `null` for any. */
  readonly #only: string | null
  #reached: string | null = null

  constructor(target: ServerTarget, places: Places, only: string | null = null) {
    this.target = target
    this.#places = places
    this.#only = only
  }

  /** The way to the address that was reached, and to no other. */
  again(): Route {
    return new Route(this.target, this.#places, this.#reached)
  }

  /** Where the last attempt ended: the address that was reached, or else the endpoint. */
  get place(): string {
    return this.#reached ?? placeOf(this.target)
  }

  /** Whether its name, which is not this machine's, has several addresses. */
  get isSeveral(): boolean {
    return this.#all.length > 1 && 'host' in this.target && !isLoopback(this.target.host)
  }

  /** Whether there is an address left, after the server at the last one would not do. */
  next(): boolean {
    if (this.#reached === null) return false
    this.#tried.add(this.#reached)
    this.#reached = null
    return this.#all.some((place) => !this.#tried.has(place))
  }

  /** Notes which address a socket gets to. */
  follow(socket: Socket): void {
    if (!('host' in this.target)) return
    const { port } = this.target
    socket.once('connect', () => {
      if (socket.remoteAddress !== undefined) this.#reached = placeOf({ host: socket.remoteAddress, port })
    })
  }

  /** Looks a name up as Node does, without the addresses that were tried. */
  readonly lookup: LookupFunction = (host, options, callback) => {
    const { target } = this
    const port = 'host' in target ? target.port : 0
    // Asked of the module each time, as Node's sockets do: programs put caches in its place.
    dns.lookup(host, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, [])
      const addresses = new Map(found.map((each) => [placeOf({ host: each.address, port }), each]))
      this.#all = [...addresses.keys()]
      this.#places.found(this.#all)
      const isWanted = (place: string) =>
        this.#only === null ? !this.#tried.has(place) : place === this.#only
      const left = this.#places.inOrder(this.#all.filter(isWanted))
      const wanted = left.flatMap((place) => addresses.get(place) ?? [])
      const [first] = wanted
      if (first === undefined)
        callback(Object.assign(new Error(`${host} has no address left`), NOT_FOUND), [])
      // Node asks for one where it is told a family.
      else if (options.all) callback(null, wanted)
      else callback(null, first.address, first.family)
    })
  }
}

const NOT_FOUND = { code: 'ENOTFOUND' }

/**
 * The error for endpoints none of which will do: of the last one, with those of all as its cause.
 * @param product what they are: `PostgreSQL`
 */
function noneWillDo(product: string, failures: readonly ConnectError[]): ConnectError {
  const [only] = failures
  if (only !== undefined && failures.length === 1) return only
  const last = failures.at(-1)
  const target =
    last?.socket != null ? { path: last.socket } : { host: last?.host ?? '', port: last?.port ?? 0 }
  const reasons = failures.map(({ message }) => message)
  return new ConnectError(
    last?.code ?? 'CONNECT_FAILED',
    target,
    `Cannot connect to ${product}: none of the hosts will do.\n- ${reasons.join('\n- ')}`,
    { cause: new AggregateError(failures), isServerBusy: failures.some(({ isServerBusy }) => isServerBusy) },
  )
}
