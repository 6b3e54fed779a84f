/** A thread of `PreparationPool`: answers request after request, in their order, until it is asked to end. */
import { parentPort } from 'node:worker_threads'
import { type PreparationRequest, prepare } from '@healthblock/chain/preparation'
import { endAnswer, endRequest } from './preparation-thread.ts'

parentPort?.on('message', (request: PreparationRequest | typeof endRequest) => {
  if (request !== endRequest) return parentPort?.postMessage(prepare(request))
  parentPort?.postMessage(endAnswer)
  parentPort?.close()
})
