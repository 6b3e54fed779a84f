import { readFileSync } from 'node:fs'
import { concatBytes, encodeUtf8, fromHex, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { encodeSealLeaf } from '../log/seal.ts'
import { type Genesis, genesisLeaf } from '../policy/genesis.ts'
import {
  acceptedFlips,
  b16,
  b32,
  flipBit,
  keyOf,
  SampleLog,
  sampleBodies,
  sampleGenesis,
  sampleSeal,
} from '../sample.test-support.ts'
import { MemoryLeafStore, StateTree } from '../state/state-tree.ts'
import { type KeyBody, signTransaction } from '../transaction/transaction.ts'
import { createReceipt, encodeReceipt, parseReceipt, type Receipt, type ReceiptPart, verifyReceipt } from './receipt.ts'

const patient = b32('patient')

/**
 * Userchain: genesis, SEAL, two transactions and the `key` that closes two grants, SEAL; state with the closed grants.
 * Docchain: genesis, SEAL, an empty block anchored beyond the `key`.
 */
function story(
  genesis: Genesis,
  change: { c?: number; anchor?: number; anchorRoot?: Uint8Array; record?: Record<string, CborValue> } = {},
) {
  const { ledgerId } = genesis
  const ranks = genesis.body.nodes.slice(0, genesis.body.q).map((_, rank) => rank)
  const userchain = new SampleLog(genesis, 'userchain')
  const docchain = new SampleLog(genesis, 'docchain')
  const sign = (body: (typeof sampleBodies)['key'], account = patient) =>
    signTransaction({ ledgerId, chain: 'userchain', body, signers: [{ account, key: 1, signingKey: keyOf('op') }] })
  const gids = [b16('grant 1'), b16('grant 2')]
  const body = { ...(sampleBodies.key as KeyBody), close: gids, open: [], env: [], cut: [] }
  const leaf = sign(body).leaf

  userchain.add(genesisLeaf(genesis), encodeSealLeaf({ ...sampleSeal, h: 0, i0: 0, k: 1, psize: 0 }))
  const { root: proot } = userchain
  const index = 4
  const tree = stateOf(gids, change.c ?? index, change.record)
  const seal = encodeSealLeaf({ ...sampleSeal, h: 1, i0: 2, k: 3, psize: 2, proot, st: tree.root })
  userchain.add(sign(sampleBodies.iot).leaf, sign(sampleBodies.device).leaf, leaf, seal)
  const anchor = [change.anchor ?? 6, change.anchorRoot ?? userchain.root] as const
  docchain.add(
    genesisLeaf(genesis),
    encodeSealLeaf({ ...sampleSeal, h: 0, i0: 0, k: 1, psize: 0, anchor: [[2, proot]] }),
    encodeSealLeaf({ ...sampleSeal, h: 1, i0: 2, k: 0, psize: 2, anchor: [anchor] }),
  )
  const published = userchain.checkpoint(ranks)
  return {
    genesis,
    userchain,
    docchain,
    gids,
    index,
    tree,
    ranks,
    transaction: userchain.entry(index, published),
    seal: { ...userchain.entry(5, published), state: gids.map((gid) => tree.proofOf(gid)) },
    anchor: docchain.entry(2, docchain.checkpoint(ranks)),
  }
}

function stateOf(gids: readonly Uint8Array[], c: number, changed: Record<string, CborValue> = {}) {
  const keyOfGrant = (gid: Uint8Array) => encodeCbor(['grant', patient, gid])
  const record = {
    to: b32('doctor'),
    streams: [new Uint8Array(8)],
    from: 1,
    until: 2 ** 53 - 1,
    rights: 3,
    purpose: 1,
    o: 2,
    ...changed,
  }
  const entries = gids.map((gid) => ({ key: keyOfGrant(gid), value: encodeCbor({ ...record, c }) }))
  const open = { key: keyOfGrant(b16('open')), value: encodeCbor(record) }
  const others = Array.from({ length: 20 }, (_, i) => ({
    key: encodeCbor(['org', b32(`org ${i}`)]),
    value: encodeCbor({ o: 0 }),
  }))
  const store = new MemoryLeafStore()
  const empty = new StateTree(store)
  const pending = empty.rootAfter([...entries, open, ...others])
  store.apply(pending.leaves)
  const tree = new StateTree(store)
  const values = new Map([...entries, open].map(({ key, value }) => [toHex(key), value]))
  return {
    root: tree.root,
    proofOf: (gid: Uint8Array) => {
      const key = keyOfGrant(gid)
      return { key, proof: tree.prove(key), value: values.get(toHex(key)) as Uint8Array }
    },
    absent: (gid: Uint8Array) => ({ key: keyOfGrant(gid), proof: tree.prove(keyOfGrant(gid)) }),
  }
}

const genesis = sampleGenesis()
const { ledgerId } = genesis
const told = story(genesis)
const { transaction, seal, anchor } = told
const ordinary = createReceipt({ genesis, chain: 'userchain', transaction })
const revocation = createReceipt({ genesis, chain: 'userchain', transaction, seal, anchor })

/** A refusal with these details. */
const refusal = (detail: Record<string, unknown>) =>
  expect.objectContaining({ name: 'ChainError', detail: expect.objectContaining(detail) })
const invalid = (step: string, reason: string) => refusal({ code: 'ERR_RECEIPT_INVALID', step, reason })
const check = (receipt: Receipt) => verifyReceipt({ bytes: encodeReceipt(receipt), ledgerId })
const parts = parseReceipt(revocation).parts as [ReceiptPart, ReceiptPart, ReceiptPart]
const forge = (change: Partial<Receipt>) => check({ ...parseReceipt(revocation), ...change })

describe('good receipts', () => {
  test('an ordinary one', () => {
    const verified = verifyReceipt({ bytes: ordinary, ledgerId })
    expect(verified).toMatchObject({ kind: 'transaction', chain: 'userchain', index: 4, closed: [] })
    expect(verified.transaction.body.t).toBe('key')
    expect(verified.steps.length).toBe(3)
    expect(verifyReceipt({ bytes: ordinary }).steps[1]).toContain('by the genesis file inside')
  })

  test('a revocation, before and after Docchain is anchored beyond it', () => {
    const before = createReceipt({ genesis, chain: 'userchain', transaction, seal })
    expect(verifyReceipt({ bytes: before, ledgerId })).not.toHaveProperty('anchored')
    const verified = verifyReceipt({ bytes: revocation, ledgerId })
    expect(verified.closed).toEqual(told.gids.map((gid) => ({ gid, closedAt: 4 })))
    expect(verified.anchored).toEqual({ height: 1, size: 6 })
    expect(verified.steps.length).toBe(7)
  })

  test('a repeated close shows where the grant was closed first', () => {
    const earlier = story(genesis, { c: 3 })
    const bytes = createReceipt({ ...earlier, chain: 'userchain' })
    expect(verifyReceipt({ bytes, ledgerId }).closed.map(({ closedAt }) => closedAt)).toEqual([3, 3])
  })

  test('a grant that was closed before it opened', () => {
    const record = { to: new Uint8Array(32), streams: [], from: 0, until: 0, rights: 0, purpose: 0, o: 4 }
    const bytes = createReceipt({ ...story(genesis, { record }), chain: 'userchain' })
    expect(verifyReceipt({ bytes, ledgerId }).closed.map(({ closedAt }) => closedAt)).toEqual([4, 4])
  })

  test('they read back', () => {
    for (const bytes of [ordinary, revocation]) expect(toHex(encodeReceipt(parseReceipt(bytes)))).toBe(toHex(bytes))
  })

  test('the genesis leaf has one on both chains', () => {
    for (const [chain, log] of [
      ['userchain', told.userchain],
      ['docchain', told.docchain],
    ] as const) {
      const bytes = createReceipt({ genesis, chain, transaction: log.entry(0) })
      expect(verifyReceipt({ bytes, ledgerId })).toMatchObject({ index: 0, chain })
    }
  })
})

describe('golden bytes', () => {
  const golden = JSON.parse(readFileSync(new URL('../../vectors/receipts.json', import.meta.url), 'utf8')) as {
    receipts: { kind: string; ledgerId: string; transactionId: string; receipt: string }[]
  }
  test('there are two', () => {
    expect(golden.receipts.map(({ kind }) => kind)).toEqual(['transaction', 'revocation'])
  })
  test.each(golden.receipts)('$kind', ({ kind, ledgerId: id, transactionId, receipt }) => {
    const bytes = encodeUtf8(receipt)
    expect(toHex(bytes)).toBe(toHex(kind === 'revocation' ? revocation : ordinary))
    const verified = verifyReceipt({ bytes, ledgerId: fromHex(id) })
    expect([verified.kind, toHex(verified.transactionId)]).toEqual([kind, transactionId])
  })
})

describe('every flipped bit is refused', () => {
  const small = sampleGenesis(1, 1)
  const smallStory = story(small)
  const request = { genesis: small, chain: 'userchain', transaction: smallStory.transaction } as const
  const ordinarySmall = createReceipt(request)
  const revocationSmall = createReceipt({ ...request, seal: smallStory.seal, anchor: smallStory.anchor })

  const read = (bytes: Uint8Array) => verifyReceipt({ bytes, ledgerId: small.ledgerId })

  const startOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes).indexOf('"kind"') * 8

  // Whatever bit of the genesis file flips, the ledger id differs: a fifth of them will do there.
  test('of an ordinary receipt', () => {
    const from = startOf(ordinarySmall)
    expect(acceptedFlips(ordinarySmall, read, { from })).toEqual([])
    expect(acceptedFlips(ordinarySmall, read, { to: from, step: 5 })).toEqual([])
  })

  test('of a revocation', () => {
    expect(acceptedFlips(revocationSmall, read, { from: startOf(revocationSmall), step: 17 })).toEqual([])
  })
})

describe('forgeries of the file', () => {
  const text = new TextDecoder().decode(ordinary)
  const format = (reason: string) => refusal({ code: 'ERR_RECEIPT_FORMAT', reason })
  test.each([
    ['not canonical', 'a newline at the end', `${text}\n`],
    ['not canonical', 'a space', text.replace(',', ', ')],
    ['not canonical', 'another order', text.replace(/^\{("genesis":"[^"]*"),("kind":"[^"]*")/, '{$2,$1')],
    ['not canonical', 'a key twice', text.replace('"v":1', '"v":1,"v":1')],
    ['not canonical', 'an escape', text.replace('"kind"', '"k\\u0069nd"')],
    ['not canonical', 'another number', text.replace('"v":1', '"v":1.0')],
    ['an unknown version', 'version 2', text.replace('"v":1', '"v":2')],
    ['an unknown key', 'a key more', text.replace('"v":1', '"v":1,"w":1')],
    ['an unknown key', 'a key of prototypes', text.replace('"v":1', '"v":1,"__proto__":{}')],
    ['a missing key', 'no version', text.replace(',"v":1', '')],
    ['an unknown word', 'another kind', text.replace('"kind":"transaction"', '"kind":"other"')],
    ['base64', 'no padding', text.replace(/=","kind/, '","kind')],
    ['base64', 'stray bits', text.replace(/(.)(=+",")/, (_all, last: string, rest: string) => next(last) + rest)],
    ['base64', 'a space in base64', text.replace('"genesis":"', '"genesis":" ')],
    ['base64', 'base64url', text.replace(/"genesis":"([^"]*?)[+/]/, '"genesis":"$1-')],
    ['shape', 'a number as leaf', text.replace(/"leaf":"[^"]*"/, '"leaf":1')],
    ['shape', 'parts that are no list', text.replace(/"parts":\[.*\]/, '"parts":{}')],
    ['not JSON in UTF-8', 'nothing', ''],
    ['not JSON in UTF-8', 'a byte order mark', `\ufeff${text}`],
    ['shape', 'null', 'null'],
    ['shape', 'a list', '[]'],
  ])('%s: %s', (reason, _why, file) => {
    expect(file).not.toBe(text)
    expect(() => verifyReceipt({ bytes: encodeUtf8(file), ledgerId })).toThrow(format(reason))
  })

  function next(character: string): string {
    return String.fromCharCode(character.charCodeAt(0) + 1)
  }

  test('bytes that are no UTF-8, and too many', () => {
    expect(() => verifyReceipt({ bytes: concatBytes(ordinary, Uint8Array.of(0xff)), ledgerId })).toThrow(
      format('not JSON in UTF-8'),
    )
    expect(() => verifyReceipt({ bytes: new Uint8Array(8_388_609), ledgerId })).toThrow(format('too large'))
  })

  test('any bytes are a receipt or a typed error', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.json().map(encodeUtf8), fc.constant(revocation)),
        fc.nat(),
        fc.nat(4),
        fc.uint8Array({ maxLength: 4 }),
        (base, at, cut, add) => {
          const position = at % (base.length + 1)
          const bytes = concatBytes(base.slice(0, position), add, base.slice(position + cut))
          try {
            verifyReceipt({ bytes, ledgerId })
            expect(toHex(bytes)).toBe(toHex(revocation))
          } catch (error) {
            if (!(error instanceof ChainError)) throw error
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})

describe('forgeries of its content', () => {
  const [first, second, third] = parts
  const other = sampleGenesis(4, 4)

  test('of another ledger', () => {
    expect(() => verifyReceipt({ bytes: ordinary, ledgerId: other.ledgerId })).toThrow(
      invalid('genesis', 'of another ledger'),
    )
    // The nodes are the same, yet the genesis file is not the one that the checkpoints name.
    expect(() => verifyReceipt({ bytes: encodeReceipt({ ...parseReceipt(ordinary), genesis: other.bytes }) })).toThrow(
      refusal({ code: 'ERR_CHECKPOINT_ORIGIN' }),
    )
    const cut = encodeReceipt({ ...parseReceipt(ordinary), genesis: genesis.bytes.slice(1) })
    expect(() => verifyReceipt({ bytes: cut })).toThrow(refusal({ code: 'ERR_GENESIS_INVALID' }))
  })

  const proofWith = (part: ReceiptPart, from: string | RegExp, to: string): ReceiptPart => {
    const proof = part.proof.replace(from, to)
    expect(proof).not.toBe(part.proof)
    return { ...part, proof }
  }
  const lastLine = /\u2014 [^\n]*\n$/
  const logLine = /\u2014 \S*(userchain|docchain) \S+\n/
  test.each([
    ['q - 1 cosignatures', proofWith(first, lastLine, ''), { code: 'ERR_CHECKPOINT_QUORUM', count: 2 }],
    ['no log line', proofWith(first, logLine, ''), { code: 'ERR_CHECKPOINT_LOG_LINE' }],
    [
      'the log line twice',
      proofWith(first, logLine, '$&$&'.replaceAll('$&', (first.proof.match(logLine) ?? [''])[0])),
      { code: 'ERR_CHECKPOINT_FORMAT' },
    ],
    [
      'a line of a stranger',
      proofWith(first, lastLine, `${(first.proof.match(lastLine) ?? [''])[0]}\u2014 stranger AAAAAAAA\n`),
      { code: 'ERR_CHECKPOINT_FORMAT' },
    ],
    [
      'extra data',
      proofWith(first, 'index', 'extra AAAA\nindex'),
      { code: 'ERR_RECEIPT_INVALID', step: 'transaction' },
    ],
    ['another index', proofWith(first, 'index 4', 'index 3'), { code: 'ERR_INCLUSION_INVALID' }],
    ['another leaf', { ...first, leaf: told.userchain.leaves[3] as Uint8Array }, { code: 'ERR_INCLUSION_INVALID' }],
    ['another chain', { ...first, chain: 'docchain' }, { code: 'ERR_CHECKPOINT_ORIGIN' }],
    ['a newline at the end of the proof', { ...first, proof: `${first.proof}\n` }, { code: 'ERR_NOTE_FORMAT' }],
  ] as const)('%s', (_why, part, detail) => {
    expect(() => check({ genesis: genesis.bytes, kind: 'transaction', parts: [part] })).toThrow(refusal(detail))
  })

  test('cosignatures of keys that are not the nodes', () => {
    const stranger = new SampleLog(genesis, 'userchain')
    stranger.add(...told.userchain.leaves)
    const swapped = { ...first, proof: first.proof.replace(/\/0 \S+\n/, '/0 AAAAAAAA\n') }
    expect(() => check({ genesis: genesis.bytes, kind: 'transaction', parts: [swapped] })).toThrow(
      refusal({ code: 'ERR_CHECKPOINT_QUORUM', count: 2 }),
    )
    // The whole ledger again, under keys of somebody else who copied the genesis file's form.
    const thief = story(sampleGenesis(5, 3))
    const stolen = createReceipt({ ...thief, chain: 'userchain' })
    expect(() => verifyReceipt({ bytes: stolen, ledgerId })).toThrow(invalid('genesis', 'of another ledger'))
  })

  test('more cosignatures than q, or in another order', () => {
    for (const ranks of [
      [0, 1, 2, 3],
      [1, 0, 2],
    ]) {
      const proof = first.proof.slice(0, first.proof.indexOf('\n\n') + 2) + told.userchain.checkpoint(ranks)
      expect(() => check({ genesis: genesis.bytes, kind: 'transaction', parts: [{ ...first, proof }] })).toThrow(
        refusal({ code: 'ERR_CHECKPOINT_FORMAT' }),
      )
    }
  })

  test.each([
    ['swapped', [second, first, third]],
    ['none', []],
    ['without the SEAL', [first, third]],
    ['an anchor twice', [first, third, third]],
    ['the transaction alone, called a revocation', [first]],
  ] as const)('parts: %s', (_why, wrong) => {
    expect(() => forge({ parts: wrong })).toThrow(invalid('parts', 'not those of this kind of receipt'))
  })

  test('parts under another name', () => {
    expect(() => forge({ parts: [{ ...second, what: 'transaction' }, { ...first, what: 'seal' }, third] })).toThrow(
      invalid('transaction', 'state proofs belong to the seal alone'),
    )
    const { state: _state, ...bare } = second
    expect(() => forge({ parts: [first, bare] })).toThrow(invalid('seal', 'state proofs belong to the seal alone'))
    expect(() => forge({ parts: [{ ...bare, what: 'transaction' }, second] })).toThrow(
      refusal({ code: 'ERR_TRANSACTION_FORMAT' }),
    )
    expect(() => forge({ parts: [first, second, { ...second, what: 'anchor' }] })).toThrow(
      invalid('anchor', 'state proofs belong to the seal alone'),
    )
    expect(() => forge({ parts: [first, second, { ...bare, what: 'anchor' }] })).toThrow(
      invalid('anchor', 'of the wrong chain'),
    )
    expect(() => forge({ parts: [first, { ...third, what: 'seal', state: [] }] })).toThrow(
      invalid('seal', 'of the wrong chain'),
    )
  })

  test('a SEAL of another block, and a leaf that is no SEAL', () => {
    const early = createReceipt({ genesis, chain: 'userchain', transaction: told.userchain.entry(1 - 1) })
    const genesisPart = parseReceipt(early).parts[0] as ReceiptPart
    expect(() => forge({ parts: [genesisPart, second] })).toThrow(invalid('seal', 'of another block'))
    expect(() => forge({ parts: [first, { ...first, what: 'seal', state: [] }] })).toThrow(
      refusal({ code: 'ERR_LEAF_FORMAT' }),
    )
  })

  test('state proofs that are altered, swapped, open, absent or missing', () => {
    const [one, two] = seal.state as [(typeof seal.state)[0], (typeof seal.state)[0]]
    const withState =
      (...state: (typeof two | Omit<typeof two, 'value'>)[]) =>
      () =>
        forge({ parts: [first, { ...second, state }, third] })
    expect(withState(two, one)).toThrow(invalid('state', 'of another grant'))
    expect(withState(one)).toThrow(invalid('state', 'not one proof for each grant closed'))
    expect(withState(one, two, two)).toThrow(invalid('state', 'not one proof for each grant closed'))
    expect(withState(one, { ...two, value: encodeCbor({ o: 1 }) })).toThrow(
      refusal({ code: 'ERR_STATE_PROOF_INVALID' }),
    )
    const { value: _value, ...valueless } = two
    expect(withState(one, valueless)).toThrow(invalid('state', 'a grant is absent'))
    const sibling = two.proof.siblings.map((hash, i) => (i === 0 ? flipBit(hash, 0) : hash))
    expect(withState(one, { ...two, proof: { ...two.proof, siblings: sibling } })).toThrow(
      refusal({ code: 'ERR_STATE_PROOF_INVALID' }),
    )
    expect(withState(one, { ...two, proof: { siblings: two.proof.siblings } })).toThrow(
      refusal({ code: 'ERR_STATE_PROOF_INVALID' }),
    )
  })

  test('a state in which the grant is closed later, or open', () => {
    const later = story(genesis, { c: 5 })
    expect(() => createReceipt({ ...later, chain: 'userchain' })).toThrow(
      invalid('state', 'closed by a later transaction'),
    )
    const open = told.tree.proofOf(b16('open'))
    const body = { ...(sampleBodies.key as KeyBody), close: [b16('open')], open: [], env: [], cut: [] }
    const log = new SampleLog(genesis, 'userchain')
    const signers = [{ account: patient, key: 1, signingKey: keyOf('op') }]
    log.add(
      signTransaction({ ledgerId, chain: 'userchain', body, signers }).leaf,
      encodeSealLeaf({ ...sampleSeal, i0: 0, k: 1, st: told.tree.root }),
    )
    const entries = { transaction: log.entry(0), seal: { ...log.entry(1), state: [open] } }
    expect(() => createReceipt({ genesis, chain: 'userchain', ...entries })).toThrow(
      invalid('state', 'a grant is open'),
    )
  })

  test('a transaction that closes nothing', () => {
    const iot = { ...told.userchain.entry(2, told.userchain.checkpoint()) }
    expect(() => createReceipt({ genesis, chain: 'userchain', transaction: iot, seal })).toThrow(
      invalid('transaction', 'it closes no grant'),
    )
  })

  test('an anchor that is not beyond the transaction, has another root, or is none', () => {
    const early = story(genesis, { anchor: 4 })
    expect(() => createReceipt({ ...early, chain: 'userchain' })).toThrow(
      invalid('anchor', 'not beyond the transaction'),
    )
    const forked = story(genesis, { anchorRoot: b32('another root') })
    expect(() => createReceipt({ ...forked, chain: 'userchain' })).toThrow(
      invalid('anchor', 'another root of the same size'),
    )
    const docchain = new SampleLog(genesis, 'docchain')
    docchain.add(encodeSealLeaf({ ...sampleSeal, i0: 0, k: 0 }))
    expect(() => createReceipt({ genesis, chain: 'userchain', transaction, seal, anchor: docchain.entry(0) })).toThrow(
      invalid('anchor', 'a SEAL of Docchain has an anchor'),
    )
    docchain.add(encodeSealLeaf({ ...sampleSeal, i0: 0, k: 0, anchor: [[6, told.userchain.root]] }))
    expect(() => createReceipt({ genesis, chain: 'userchain', transaction, seal, anchor: docchain.entry(1) })).toThrow(
      invalid('anchor', 'not at the end of its block'),
    )
  })

  test('a transaction on the chain where its type has no place', () => {
    const docchain = new SampleLog(genesis, 'docchain')
    docchain.add(transaction.leaf)
    expect(() => createReceipt({ genesis, chain: 'docchain', transaction: docchain.entry(0) })).toThrow(
      invalid('transaction', 'of a type of the other chain'),
    )
  })
})
