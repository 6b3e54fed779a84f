/** A thread of `PreparationPool`: answers request after request, in their order. */
import { parentPort } from 'node:worker_threads'
import { type PreparationRequest, prepare } from '@healthblock/chain/preparation'

parentPort?.on('message', (request: PreparationRequest) => parentPort?.postMessage(prepare(request)))
