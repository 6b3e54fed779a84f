/** A thread of `PreparationPool`: answers request after request, in their order. */
import { parentPort } from 'node:worker_threads'
import { type PreparationRequest, prepare } from '@healthblock/chain/preparation'

parentPort?.on('message', (request: PreparationRequest) => {
  const result = prepare(request)
  const { hashes, root, ids, good } = result
  const buffers = new Set([hashes, root, ids, good].map(({ buffer }) => buffer as ArrayBuffer))
  parentPort?.postMessage(result, [...buffers])
})
