import { genesisLeaf } from '@healthblock/chain/genesis'
import { createReceipt } from '@healthblock/chain/receipt'
import { signTransaction } from '@healthblock/chain/transaction'
import { addWitnessLines, parseWitnessKey } from '@healthblock/chain/witness'
import { expect, test } from 'vitest'
import {
  b32,
  keyOf,
  SampleLog,
  sampleBodies,
  sampleGenesis,
  sampleWitness,
} from '../../chain/src/sample.test-support.ts'
import { extractFiles } from './extract.ts'
import { verifyFile } from './verify.ts'

const genesis = sampleGenesis()
const { ledgerId } = genesis
const chain = 'userchain'
const log = new SampleLog(genesis, chain)
const signers = [{ account: b32('patient'), key: 1 as const, signingKey: keyOf('op') }]
log.add(genesisLeaf(genesis), signTransaction({ ledgerId, chain, body: sampleBodies.iot, signers }).leaf)
const witness = sampleWitness('witness.example/a')
const time = 1_750_000_200_000
const line = witness.line({ origin: log.origin, size: 2, root: log.root }, time)
const checkpoint = addWitnessLines(log.checkpoint(), [{ line, time }])
const witnesses = [parseWitnessKey(witness.vkey)]
const receipt = createReceipt({ genesis, chain, transaction: log.entry(1, checkpoint), witnesses })
const plain = createReceipt({ genesis, chain, transaction: log.entry(1) })

test('a file says who stands behind it, and whether the reader knows them', () => {
  const one = { name: 'witness.example/a', vkey: witness.vkey, time }
  expect(verifyFile(receipt)).toMatchObject({ attested: 'witnessed', witnesses: [{ ...one, isKnown: false }] })
  const known = verifyFile(receipt, { genesis: genesis.bytes, witnesses: [witness.vkey] })
  expect(known).toMatchObject({ attested: 'witnessed', witnesses: [{ ...one, isKnown: true }] })
  expect(verifyFile(plain)).toMatchObject({ attested: 'quorum', witnesses: [] })
})

test('a witness that the reader demands must have signed, with that key', () => {
  expect(() => verifyFile(plain, { witnesses: [witness.vkey] })).toThrow('did not cosign')
  const other = sampleWitness('witness.example/b')
  expect(() => verifyFile(receipt, { witnesses: [witness.vkey, other.vkey] })).toThrow('witness.example/b')
  expect(() => verifyFile(receipt, { witnesses: ['nonsense'] })).toThrow('verifier key')
})

test('what is extracted demands the witness too', () => {
  const policy = extractFiles(receipt).find(({ name }) => name.endsWith('.policy'))
  const lines = new TextDecoder().decode(policy?.bytes).trimEnd().split('\n')
  expect(lines).toContain(`witness outside-0 ${witness.vkey}`)
  expect(lines.slice(-2)).toEqual(['group witnessed all nodes outside-0', 'quorum witnessed'])
})
