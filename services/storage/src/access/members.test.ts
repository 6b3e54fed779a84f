import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import { parseReceipts } from '../replication/receipt.ts'
import { StandaloneAuthorizer } from './authorizer.ts'
import { FileMembers, parseMembers } from './members.ts'

const ledgerId = '11'.repeat(32)
const one = { account: 'aa'.repeat(32), storeKey: 'bb'.repeat(32), peerId: 'p1', url: 'http://127.0.0.1:1/' }

let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'storage-members-'))
  path = join(folder, 'members.json')
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

test('a list is read, sorted and found by account and peer', () => {
  const two = { ...one, account: '01'.repeat(32), peerId: 'p2' }
  writeFileSync(path, JSON.stringify({ ledgerId, members: [one, two] }))
  const members = new FileMembers(path, () => {})
  expect(members.list().map((member) => member.peerId)).toEqual(['p2', 'p1'])
  expect(members.find(new Uint8Array(32).fill(0xaa))?.url).toBe('http://127.0.0.1:1')
  expect(members.findPeer('p3')).toBeUndefined()
  members.close()
})

test('a change is told; a bad file and another ledger are reported and leave the list in force', () => {
  writeFileSync(path, JSON.stringify({ ledgerId, members: [one] }))
  const errors: Error[] = []
  const members = new FileMembers(path, (error) => errors.push(error))
  let changes = 0
  const end = members.onChange(() => changes++)
  writeFileSync(path, JSON.stringify({ ledgerId, members: [] }))
  members.reload()
  members.reload()
  expect(changes).toBe(1)
  writeFileSync(path, '{')
  members.reload()
  writeFileSync(path, JSON.stringify({ ledgerId: '22'.repeat(32), members: [one] }))
  members.reload()
  expect(errors).toHaveLength(2)
  expect(members.list()).toEqual([])
  end()
  members.close()
})

test('malformed lists are refused by name', () => {
  const bad = [
    '',
    '[]',
    '{}',
    JSON.stringify({ ledgerId, members: [{ ...one, account: 'aa' }] }),
    JSON.stringify({ ledgerId, members: [one, one] }),
    JSON.stringify({ ledgerId, members: [{ ...one, url: 'no url' }] }),
    JSON.stringify({ ledgerId, members: [{ ...one, addresses: ['no address'] }] }),
    JSON.stringify({ ledgerId, members: [{ ...one, addresses: '/ip4/127.0.0.1/tcp/1' }] }),
    JSON.stringify({ ledgerId: 'x', members: [] }),
  ]
  for (const text of bad) expect(() => parseMembers(text)).toThrow(/member list/)
  const second = JSON.stringify({ ledgerId, members: [one, { ...one, account: '01'.repeat(32), url: 'no url' }] })
  expect(() => parseMembers(second)).toThrow('the member list is not valid: member 2: url is no URL')
  expect(() => parseMembers(JSON.stringify({ ledgerId }))).toThrow('members is no list')
})

function refusalOf(act: () => unknown): boolean {
  try {
    act()
    return false
  } catch (error) {
    return isStorageError(error, 'ERR_TOKEN_INVALID')
  }
}

test('any text is refused as a token and as receipts, by name', () => {
  writeFileSync(path, JSON.stringify({ ledgerId, members: [one] }))
  const members = new FileMembers(path, () => {})
  const file = { tokens: new Map(), erasureKeys: new Map() }
  const authorizer = new StandaloneAuthorizer({ file, members, self: new Uint8Array(32), now: () => 1 })
  const bytes = fc.uint8Array({ maxLength: 120 }).map((input) => Buffer.from(input).toString('base64url'))
  fc.assert(
    fc.property(fc.oneof(bytes, fc.string()), (text) => {
      expect(refusalOf(() => authorizer.authorize(text))).toBe(true)
      try {
        // The empty array is the one good value that random bytes hit.
        expect(parseReceipts(text)).toEqual([])
      } catch (error) {
        expect(isStorageError(error, 'ERR_RECEIPT_INVALID')).toBe(true)
      }
    }),
    { numRuns: 1000 },
  )
  members.close()
})
