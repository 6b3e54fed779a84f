import { expect, test } from 'vitest'
import { Networks, sourceOf } from './client-source.ts'

test('a network of IPv6 is one source, however many addresses somebody takes from it', () => {
  expect(sourceOf('203.0.113.9')).toBe('203.0.113.9')
  expect(sourceOf('::ffff:203.0.113.9')).toBe('203.0.113.9')
  const network = '2001:db8:1:2::/64'
  for (const address of ['2001:db8:1:2::1', '2001:0DB8:1:2:a:b:c:d', '2001:db8:1:2:ffff::', '2001:db8:1:2::1%eth0'])
    expect(sourceOf(address), address).toBe(network)
  expect(sourceOf('2001:db8:1:3::1')).not.toBe(network)
  expect(sourceOf('::1')).toBe('0:0:0:0::/64')
  expect(sourceOf('1::')).toBe('1:0:0:0::/64')
  expect(sourceOf('unix')).toBe('unix')
})

test('networks have their addresses, and what is none is not taken', () => {
  const networks = new Networks(['10.1.0.0/16', '192.0.2.7', 'fd00::/8'])
  for (const address of ['10.1.255.1', '192.0.2.7', '::ffff:192.0.2.7', 'fd12::1'])
    expect(networks.has(address), address).toBe(true)
  for (const address of ['10.2.0.1', '192.0.2.8', 'fe80::1', '', 'proxy', undefined])
    expect(networks.has(address), address).toBe(false)
  expect(new Networks([]).has('127.0.0.1')).toBe(false)
  for (const wrong of ['proxy', '10.0.0.1/33', '10.0.0.1/', 'fd00::/129', '10.0.0.1/-1', '1', ''])
    expect(() => new Networks([wrong]), wrong).toThrow(TypeError)
})
