/**
 * Rotation at the level of bytes: what a doctor keeps after a revocation, and what he can do with it.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  composeEnvelope,
  type EnvelopeContext,
  envelopeNodes,
  generateKemKeyPair,
  openEnvelope,
  sealEnvelope,
} from './envelope.ts'
import { epochKeyFrom, newStreamRoot, restrictNodes, type TreeNode } from './key-tree.ts'
import { openPayload, type PayloadFields, payloadKinds, sealPayload } from './payload.ts'
import { randomBytes } from './random.ts'

const code = (wanted: string) => expect.objectContaining({ detail: expect.objectContaining({ code: wanted }) })
const [ledgerId, patient] = [randomBytes(32), randomBytes(32)]
const stream = randomBytes(8)
const reading = randomBytes(200)

interface Generation {
  readonly number: number
  readonly first: number
  readonly root: TreeNode
}
interface Recording {
  readonly block: Uint8Array
  readonly fields: PayloadFields
}
interface Doctor {
  readonly keyPair: ReturnType<typeof generateKemKeyPair>
  readonly account: Uint8Array
}

const newDoctor = (): Doctor => ({ keyPair: generateKemKeyPair(), account: randomBytes(32) })

function record(generation: Generation, epoch: number, sequence: number): Recording {
  const fields: PayloadFields = {
    kind: payloadKinds.data,
    ledgerId,
    owner: patient,
    writer: patient,
    stream,
    generation: generation.number,
    epoch,
    sequence,
  }
  const epochKey = epochKeyFrom({ nodes: [generation.root], first: generation.first, epoch })
  return { block: sealPayload({ ...fields, epochKey, plaintext: reading, sizeBytes: 1024 }).block, fields }
}

function contextOf(doctor: Doctor, grantId: Uint8Array, generation: number): EnvelopeContext {
  const recipientKemKey = doctor.keyPair.publicKey
  return { ledgerId, patient, grantId, generation, recipient: doctor.account, recipientKemKey }
}

function grant(generation: Generation, doctor: Doctor, grantId: Uint8Array, until?: number): Promise<Uint8Array> {
  const contents = composeEnvelope({
    range: { first: generation.first, from: generation.first, until },
    streams: [{ stream, kind: 1, class: 1024, nodes: [generation.root] }],
    diagnosis: [],
  })
  return sealEnvelope({ suite: 1, context: contextOf(doctor, grantId, generation.number), contents })
}

describe('after a revocation', () => {
  const first = 490_000
  const old: Generation = { number: 1, first, root: newStreamRoot() }
  // The rotation happens within an hour: the new generation begins in the epoch in which the old one ends.
  const next: Generation = { number: 2, first: first + 5, root: newStreamRoot() }
  const before = [0, 1, 2, 3, 4, 5].map((hour, i) => record(old, first + hour, i + 1))
  const after = [5, 6, 7, 100, 5000].map((hour, i) => record(next, first + hour, before.length + i + 1))
  const grantId = randomBytes(16)

  test('no key of the ex-doctor opens a record behind the cut', async () => {
    const doctor = newDoctor()
    const envelope = await grant(old, doctor, grantId)
    const contents = await openEnvelope({ keyPair: doctor.keyPair, context: contextOf(doctor, grantId, 1), envelope })
    const nodes = envelopeNodes(contents, contents.streams[0]?.keys as Uint8Array)
    for (const { block, fields } of before) {
      const epochKey = epochKeyFrom({ nodes, first: contents.first, epoch: fields.epoch })
      expect(openPayload({ block, epochKey, expected: fields })).toEqual(reading)
    }
    for (const { block, fields } of after) {
      // The key of that hour, of the hour counted from the new leaf 0, of every hour around, and the root itself.
      const epochs = [fields.epoch, fields.epoch - 5, ...Array.from({ length: 24 }, (_, i) => first + i)]
      const keys = epochs.map((epoch) => epochKeyFrom({ nodes, first, epoch: Math.max(epoch, first) }))
      for (const epochKey of [...keys, ...nodes.map(({ key }) => key)]) {
        for (const expected of [fields, { ...fields, generation: 1 }]) {
          expect(() => openPayload({ block, epochKey, expected })).toThrow(code('ERR_OPEN_FAILED'))
        }
      }
    }
  })

  test('an old envelope in a new key transaction does not open; nor does one under another grant or for another doctor', async () => {
    const [doctor, colleague] = [newDoctor(), newDoctor()]
    const envelope = await grant(old, doctor, grantId)
    const open = (who: Doctor, gid: Uint8Array, generation: number) =>
      openEnvelope({ keyPair: who.keyPair, context: contextOf(who, gid, generation), envelope })
    expect((await open(doctor, grantId, 1)).first).toBe(first)
    await expect(open(doctor, grantId, 2)).rejects.toThrow(code('ERR_OPEN_FAILED'))
    await expect(open(doctor, randomBytes(16), 1)).rejects.toThrow(code('ERR_OPEN_FAILED'))
    await expect(open(colleague, grantId, 1)).rejects.toThrow(code('ERR_OPEN_FAILED'))
  })

  test('those who remain read on, with the new envelope only', async () => {
    const doctor = newDoctor()
    const envelope = await grant(next, doctor, grantId)
    const contents = await openEnvelope({ keyPair: doctor.keyPair, context: contextOf(doctor, grantId, 2), envelope })
    const nodes = envelopeNodes(contents, contents.streams[0]?.keys as Uint8Array)
    for (const { block, fields } of after) {
      const epochKey = epochKeyFrom({ nodes, first: contents.first, epoch: fields.epoch })
      expect(openPayload({ block, epochKey, expected: fields })).toEqual(reading)
    }
    expect(() => epochKeyFrom({ nodes, first: contents.first, epoch: first + 4 })).toThrow(code('ERR_EPOCH_OUTSIDE'))
  })
})

test('a window opens records of its first and last epoch, and none of the epochs beside them', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(3000), (offset, length) => {
      const generation: Generation = { number: 1, first: 480_000, root: newStreamRoot() }
      const [a, b] = [generation.first + offset, generation.first + offset + length]
      const nodes = restrictNodes([generation.root], { first: generation.first, from: a, until: b + 1 })
      for (const epoch of [a, b]) {
        const { block, fields } = record(generation, epoch, 1)
        const epochKey = epochKeyFrom({ nodes, first: generation.first, epoch })
        expect(openPayload({ block, epochKey, expected: fields })).toEqual(reading)
      }
      for (const epoch of [a - 1, b + 1]) {
        const { block, fields } = record(generation, epoch, 1)
        expect(() => epochKeyFrom({ nodes, first: generation.first, epoch })).toThrow(code('ERR_EPOCH_OUTSIDE'))
        for (const inside of [a, b]) {
          const epochKey = epochKeyFrom({ nodes, first: generation.first, epoch: inside })
          expect(() => openPayload({ block, epochKey, expected: fields })).toThrow(code('ERR_OPEN_FAILED'))
        }
        for (const { key } of nodes) {
          expect(() => openPayload({ block, epochKey: key, expected: fields })).toThrow(code('ERR_OPEN_FAILED'))
        }
      }
    }),
    { numRuns: 40 },
  )
})
