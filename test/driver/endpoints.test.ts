import dns from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { Endpoints } from '../../src/driver/endpoints.ts'

const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === '::1'),
)

describe('endpoints', () => {
  it.skipIf(!hasIpv6)('know an IPv6 address by any of its spellings', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '::1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const demoted = { host: '0:0:0:0:0:0:0:1', port }
    const other = { host: '::2', port }
    const endpoints = new Endpoints()
    const route = endpoints.route(demoted)
    const socket = connect({ ...demoted, lookup: route.lookup })
    route.follow(socket)
    await once(socket, 'connect')

    endpoints.passOver(route.place, new Error('it takes no writes'))

    expect(endpoints.inOrder([demoted, other])).toEqual([other, demoted])
    socket.destroy()
    server.close()
  })

  it('go to a new connection of the same place no more than once where a lookup spells it otherwise', async () => {
    const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { lookup } = dns
    const answer = (...all: unknown[]) => {
      const callback = all.at(-1)
      if (typeof callback === 'function') callback(null, [{ address: '0:0:0:0:0:ffff:127.0.0.1', family: 6 }])
    }
    Object.assign(dns, { lookup: answer })
    const route = new Endpoints().route({ host: 'name.test', port })
    const socket = connect({ host: 'name.test', port, lookup: route.lookup })
    route.follow(socket)
    await once(socket, 'connect').finally(() => Object.assign(dns, { lookup }))

    expect(route.next()).toBe(false)
    socket.destroy()
    server.close()
  })
})
