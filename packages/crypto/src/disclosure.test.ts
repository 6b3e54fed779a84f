import { encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, test } from 'vitest'
import { disclosedNodes, encodeDisclosure, parseDisclosure } from './disclosure.ts'
import { epochKeyFrom, newStreamRoot, reachesEpoch, type TreeNode } from './key-tree.ts'
import { randomBytes } from './random.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const [ecg, vitals] = [randomBytes(8), randomBytes(8)]
const held = [1, 2].flatMap((generation) =>
  [ecg, vitals].map((stream) => ({ stream, generation, first: 100 * generation, nodes: [newStreamRoot()] })),
)

function fileOf(from: number, until: number, stream: Uint8Array) {
  const nodes = disclosedNodes(held, { from, until, isDisclosed: (one) => one === stream })
  return { ledgerId: randomBytes(32), patient: randomBytes(32), from, until, nodes }
}

describe('a key file', () => {
  test('gives the keys of its window, and of no other epoch or stream', () => {
    const disclosure = parseDisclosure(encodeDisclosure(fileOf(150, 210, ecg)))
    expect(disclosure.nodes.every(({ stream }) => Buffer.from(stream).equals(ecg))).toBe(true)
    expect(disclosure.nodes.map(({ generation }) => generation)).toEqual([1, 2])
    const [first, second] = disclosure.nodes.map(({ nodes, first }) => ({ nodes: nodes as TreeNode[], first }))
    if (first === undefined || second === undefined) throw new TypeError('two generations')
    const whole = held[0] as { nodes: TreeNode[]; first: number }
    for (const epoch of [150, 180, 209]) {
      expect(epochKeyFrom({ ...first, epoch })).toEqual(epochKeyFrom({ nodes: whole.nodes, first: whole.first, epoch }))
    }
    for (const epoch of [149, 210]) expect(reachesEpoch({ ...first, epoch })).toBe(false)
    expect(reachesEpoch({ ...second, epoch: 200 })).toBe(true)
    expect(reachesEpoch({ ...second, epoch: 210 })).toBe(false)
  })

  test('that misses every generation is empty', () => {
    expect(fileOf(10, 20, ecg).nodes).toEqual([])
  })

  test('comes back as it was written', () => {
    const disclosure = fileOf(150, 210, vitals)
    expect(parseDisclosure(encodeDisclosure(disclosure))).toEqual(disclosure)
  })

  test('of another form is refused', () => {
    const good = fileOf(150, 210, ecg)
    expect(() => encodeDisclosure({ ...good, until: 150 })).toThrow(code('ERR_ARGUMENT_INVALID'))
    expect(() => encodeDisclosure({ ...good, patient: randomBytes(31) })).toThrow(code('ERR_ARGUMENT_INVALID'))
    const bytes = encodeDisclosure(good)
    expect(() => parseDisclosure(bytes.subarray(1))).toThrow(code('ERR_FORMAT_INVALID'))
    expect(() => parseDisclosure(new Uint8Array(0))).toThrow(code('ERR_FORMAT_INVALID'))
    const { ledgerId: ledger, patient, from } = good
    const map = { v: 1, ledger, patient, from, until: from, nodes: [] }
    expect(() => parseDisclosure(encodeCbor(map))).toThrow(code('ERR_FORMAT_INVALID'))
    expect(() => parseDisclosure(encodeCbor({ ...map, until: from + 1, more: 1 }))).toThrow(code('ERR_FORMAT_INVALID'))
    expect(() => parseDisclosure(encodeCbor({ ...map, until: from + 1, nodes: [[ecg, 1]] }))).toThrow(
      code('ERR_FORMAT_INVALID'),
    )
  })
})
