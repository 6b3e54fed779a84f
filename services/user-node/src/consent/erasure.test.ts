import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { newStreamRoot, reachesEpoch, type TreeNode, wipeNodes } from '@healthblock/crypto/key-tree'
import { expect, test } from 'vitest'
import { shredHeld } from './compose.ts'

const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]
const first = 1000

function held(stream: Uint8Array, generation: number): HeldNodes {
  return { stream, generation, first, nodes: [newStreamRoot()] }
}

function reaches(nodes: readonly HeldNodes[], stream: Uint8Array, generation: number, epoch: number): boolean {
  return nodes.some(
    (one) =>
      one.generation === generation &&
      one.stream === stream &&
      reachesEpoch({ nodes: one.nodes as TreeNode[], first, epoch }),
  )
}

test('a shredded period is reached by nothing that is kept, and everything around it still is', () => {
  const before = [held(ecg, 1), held(ecg, 2), held(vitals, 1)]
  const period = { streams: [ecg], fromEpoch: 1003, untilEpoch: 1007, generationMax: 1 }
  const { kept, gone } = shredHeld(before, period)
  for (let epoch = first; epoch < 1012; epoch++) {
    expect(reaches(kept, ecg, 1, epoch)).toBe(epoch < 1003 || epoch >= 1007)
    expect(reaches(kept, ecg, 2, epoch)).toBe(true)
    expect(reaches(kept, vitals, 1, epoch)).toBe(true)
  }
  // What is wiped is what led there, and nothing that is kept.
  for (const nodes of gone) wipeNodes(nodes)
  expect(before[0]?.nodes[0]?.key.every((byte) => byte === 0)).toBe(true)
  for (const { nodes } of kept) for (const { key } of nodes) expect(key.some((byte) => byte !== 0)).toBe(true)
})

test('a stream whose whole generation goes leaves no entry behind, and a second time changes nothing', () => {
  const period = { streams: [ecg], fromEpoch: 0, untilEpoch: first + 2 ** 20, generationMax: 9 }
  const { kept } = shredHeld([held(ecg, 1), held(vitals, 1)], period)
  expect(kept.map(({ stream }) => stream)).toEqual([vitals])
  expect(shredHeld(kept, period).kept).toEqual(kept)
})
