/** Every parser of untrusted bytes, by where it lives. */
import { ChainError } from '@healthblock/chain/errors'
import { CryptoError } from '@healthblock/crypto/errors'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { EncodingError } from '@healthblock/encoding/errors'
import { RuntimeError } from '@healthblock/runtime/errors'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import { StorageError } from '../../services/storage/src/errors.ts'
import type { FuzzSuite } from '../support/fuzz.ts'
import { answerTargets } from './answer-targets.ts'
import { chainTargets } from './chain-targets.ts'
import { cryptoTargets } from './crypto-targets.ts'
import { diagnosisTargets } from './diagnosis-targets.ts'
import { encodingTargets } from './encoding-targets.ts'
import { fetchTargets } from './fetch-targets.ts'
import { fileTargets } from './file-targets.ts'
import { accountingTargets } from './node-targets.ts'
import { peerTargets } from './peer-targets.ts'
import { storageTargets } from './storage-targets.ts'
import { storeAnswerTargets } from './store-answer-targets.ts'

const typed = [EncodingError, CryptoError, ChainError, DiagnosisError, StorageError, AccountingError]
const isTyped = (error: unknown): boolean => typed.some((type) => error instanceof type)

const isOfSource = (error: unknown): boolean => error instanceof RuntimeError && error.detail.code !== 'ERR_CLOSED'

/** What may be fuzzed, and how it is opened: some of it needs processes or servers of its own. */
export const suites: readonly (readonly [name: string, open: () => Promise<FuzzSuite>])[] = [
  ['encoding', async () => ({ targets: encodingTargets, isTyped })],
  ['crypto', async () => ({ targets: await cryptoTargets(), isTyped })],
  ['chain', async () => ({ targets: chainTargets(), isTyped })],
  ['files', async () => ({ targets: fileTargets(), isTyped })],
  ['diagnosis', async () => ({ targets: diagnosisTargets(), isTyped })],
  ['storage', async () => ({ targets: storageTargets(), isTyped })],
  ['node', async () => ({ targets: await accountingTargets(), isTyped })],
  ['peers', async () => ({ ...(await peerTargets()), isTyped })],
  ['answers', async () => ({ ...(await answerTargets()), isTyped: isOfSource })],
  ['stores', async () => ({ ...(await storeAnswerTargets()), isTyped: isOfSource })],
  [
    'fetches',
    async () => ({
      targets: fetchTargets(),
      isTyped: (error) => error instanceof RuntimeError && error.detail.code === 'ERR_EVIDENCE_INVALID',
    }),
  ],
]
