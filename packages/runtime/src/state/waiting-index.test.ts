import { expect, test } from 'vitest'
import { WaitingIndex } from './waiting-index.ts'

const bytes = (length: number, ...first: number[]): Uint8Array => Uint8Array.from({ length }, (_, i) => first[i] ?? 0)
const boundary = (height: number, size: number) => ({ height, size, root: bytes(32), ms: 1, wakes: false })

test('gives records stream by stream, each stream in the order in which it came, and each with its own place', () => {
  const index = new WaitingIndex()
  const record = (patient: number, stream: number, sequence: number, at: number) => ({
    ...{ patient: bytes(32, patient), stream: bytes(8, stream), sequence },
    entry: { index: at, generation: 1, epoch: 2, kind: 3 },
  })
  const came = [record(2, 1, 0, 0), record(1, 9, 4, 1), record(2, 0, 7, 2), record(1, 9, 5, 3), record(2, 1, 1, 4)]
  index.apply({ transactions: [], records: came.slice(0, 3), boundary: boundary(1, 3) })
  index.apply({ transactions: [], records: came.slice(3), boundary: boundary(2, 5) })
  expect([...index.recordsInOrder()]).toEqual([1, 3, 2, 0, 4].map((position) => came[position]))
})
