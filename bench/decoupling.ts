/**
 * What a reading costs with d doctors: sealed once, its key handed over with the envelope of a rotation, against an envelope
 * for each reading and doctor. And the bytes of a patient's day, with the hash of each batch on the ledger or the batch itself.
 */
import { signTransaction } from '@healthblock/chain/transaction'
import {
  composeEnvelope,
  generateKemKeyPair,
  kemSuiteDefault,
  openEnvelope,
  sealEnvelope,
} from '@healthblock/crypto/envelope'
import { epochKeyFrom, newStreamRoot } from '@healthblock/crypto/key-tree'
import { openPayload, type PayloadFields, payloadKinds, sealPayload } from '@healthblock/crypto/payload'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const rounds = options.quick ? 40 : 400
const epoch = 480_000
const ledgerId = randomBytes(32)
const account = randomBytes(32)
const opKey = generateSigningKey()
const stream = randomBytes(8)
const root = newStreamRoot()
const fields: PayloadFields = {
  ...{ kind: payloadKinds.data, ledgerId, owner: account, writer: account, stream },
  ...{ generation: 1, epoch, sequence: 1 },
}
// Ten seconds of one lead at 125 Hz, as the device gives them.
const reading = randomBytes(2500)
const blockSizeBytes = 4096
const readingsPerDay = 8640

function iotLeaf(records: number): Uint8Array {
  const block = randomBytes(32)
  const r = Array.from({ length: records }, (_, i) => [stream, i + 1, 1, epoch, 0, blockSizeBytes, block] as const)
  const body = { v: 1, t: 'iot', a: account, r } as const
  const signers = [{ account, key: 1, signingKey: opKey }]
  return signTransaction({ ledgerId, chain: 'userchain', body, signers }).leaf
}

const keyOf = () => epochKeyFrom({ nodes: [root], first: epoch, epoch })
const seal = () => sealPayload({ ...fields, epochKey: keyOf(), plaintext: reading, sizeBytes: blockSizeBytes })

async function times(count: number, work: () => unknown): Promise<number[]> {
  const samples: number[] = []
  for (let i = 0; i < count; i++) {
    const from = performance.now()
    await work()
    samples.push(performance.now() - from)
  }
  return samples
}

/** The keys of the stream, sealed to one doctor. */
function envelopeRequest(recipient: Uint8Array, kemKey: Uint8Array) {
  const contents = composeEnvelope({
    range: { first: epoch, from: epoch, until: undefined },
    streams: [{ stream, kind: 1, class: blockSizeBytes, nodes: [root] }],
    diagnosis: [],
  })
  const context = { ledgerId, patient: account, grantId: randomBytes(16), generation: 1, recipient }
  return {
    context,
    sealed: sealEnvelope({ suite: kemSuiteDefault, context: { ...context, recipientKemKey: kemKey }, contents }),
  }
}

async function compare(doctors: number): Promise<Result[]> {
  const people = Array.from({ length: doctors }, () => ({ account: randomBytes(32), kem: generateKemKeyPair() }))
  const { block } = seal()
  const first = people[0] as (typeof people)[number]
  const { context, sealed } = envelopeRequest(first.account, first.kem.publicKey)
  const envelope = await sealed
  const sealMs = percentile(await times(rounds, seal), 0.5)
  const openMs = percentile(await times(rounds, () => openPayload({ block, epochKey: keyOf(), expected: fields })), 0.5)
  const recordBytes = (iotLeaf(64).length - iotLeaf(1).length) / 63
  const eachSealMs = percentile(
    await times(Math.max(3, Math.ceil(rounds / 4 / doctors)), async () => {
      seal()
      for (const { account: recipient, kem } of people) await envelopeRequest(recipient, kem.publicKey).sealed
    }),
    0.5,
  )
  const eachOpenMs = percentile(
    await times(rounds, async () => {
      await openEnvelope({ keyPair: first.kem, context, envelope })
      openPayload({ block, epochKey: keyOf(), expected: fields })
    }),
    0.5,
  )
  const ledgerBytes = Math.round(recordBytes)
  const each = envelope.length + 32
  return [
    { way: 'keys by rotation', doctors, userMs: sealMs, doctorMs: openMs, blockBytes: block.length, ledgerBytes },
    {
      way: 'envelope each reading',
      ...{ doctors, userMs: eachSealMs, doctorMs: eachOpenMs, blockBytes: block.length },
      ledgerBytes: ledgerBytes + doctors * each,
    },
  ]
}

function patientDay(recordsPerTransaction: number): Result[] {
  const transactions = Math.ceil(readingsPerDay / recordsPerTransaction)
  const hashOnly = transactions * iotLeaf(recordsPerTransaction).length
  const shape = { recordsPerTransaction, readingsPerDay, transactionsPerDay: transactions }
  return [
    {
      ledger: 'hash of each batch',
      ...shape,
      ledgerBytesPerDay: hashOnly,
      storageBytesPerDay: readingsPerDay * blockSizeBytes,
    },
    {
      ledger: 'batches inline',
      ...shape,
      ledgerBytesPerDay: hashOnly + readingsPerDay * (blockSizeBytes - 32),
      storageBytesPerDay: 0,
    },
  ]
}

const results: Result[] = []
for (const doctors of [1, 10, 100]) {
  tell(`decoupling: ${doctors} doctors`)
  results.push(...(await compare(doctors)))
}
for (const records of [1, 6, 64]) results.push(...patientDay(records))
report('decoupling', results, options)
