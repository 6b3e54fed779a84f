/**
 * For this package's tests: a small ledger over chain's real `Ledger`, and HTTP servers that speak as much of
 * services/accounting-node/SPEC.md §1 as its clients use. A server can be told to lie.
 */
import { Ledger, type PendingBlock } from '@healthblock/chain/block'
import { type ChainName, chains } from '@healthblock/chain/chains'
import { addSignatures, chainOrigin, cosignCheckpoint, signCheckpoint } from '@healthblock/chain/checkpoint'
import { encodeGenesis, type Genesis, genesisAccount, ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { CompactRange, inclusionProof, leafHash, MemoryHashes } from '@healthblock/chain/merkle'
import { encodeProof } from '@healthblock/chain/proof'
import { createReceipt } from '@healthblock/chain/receipt'
import { ruleText, signStatement } from '@healthblock/chain/statement'
import { MemoryChainStore } from '@healthblock/chain/store'
import {
  encodeEntryBundle,
  encodeHashTile,
  parseTilePath,
  tileNodes,
  tilePath,
  tileWidth,
} from '@healthblock/chain/tile'
import {
  parseTransactionLeaf,
  signTransaction,
  type Transaction,
  type TransactionBody,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8, fromBase64Url, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, decodeCborAt, encodeCbor } from '@healthblock/encoding/cbor'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'

export const hourMs = 3_600_000
const startMs = 1_700_000_000_000

interface NodeKeys {
  readonly node: SigningKey
  readonly log: Record<ChainName, SigningKey>
  readonly cosigner: Record<ChainName, SigningKey>
}

/** What several tests share: keys of a consortium, and its genesis file. */
export interface Consortium {
  readonly genesis: Genesis
  readonly nodes: readonly NodeKeys[]
  readonly organisation: { readonly account: Uint8Array; readonly op: SigningKey }
  readonly store: { readonly account: Uint8Array; readonly key: SigningKey }
}

export function createConsortium(nodeCount = 4): Consortium {
  const key = generateSigningKey
  const nodes = Array.from({ length: nodeCount }, () => ({
    node: key(),
    log: { userchain: key(), docchain: key() },
    cosigner: { userchain: key(), docchain: key() },
  }))
  const [root, op, store] = [key(), key(), key()]
  const bytes = encodeGenesis({
    v: 1,
    t: 'genesis',
    start: startMs,
    params: { epochms: hourMs, seals: 1 },
    q: Math.floor(nodeCount / 2) + 1,
    orgs: [[root.publicKey, op.publicKey, generateKemKeyPair().publicKey, 1, 1000]],
    nodes: nodes.map(({ node, log, cosigner }) => {
      const keys = [node, log.userchain, cosigner.userchain, log.docchain, cosigner.docchain].map(
        (one) => one.publicKey,
      )
      return [0, ...keys] as unknown as readonly [number, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    }),
    stores: [[0, store.publicKey, randomBytes(38)]],
  })
  const ledgerId = ledgerIdOf(bytes)
  return {
    genesis: parseGenesis(bytes),
    nodes,
    organisation: { account: genesisAccount(ledgerId, root.publicKey), op },
    store: { account: genesisAccount(ledgerId, store.publicKey), key: store },
  }
}

interface Person {
  readonly account: Uint8Array
  readonly op: SigningKey
}

/** With the key that gives access. */
interface Registered extends Person {
  readonly root: SigningKey
}

/** One history of both chains; blocks are made when told. */
export class TestLedger {
  readonly consortium: Consortium
  readonly ledger: Ledger
  readonly leaves: Record<ChainName, Uint8Array[]> = { userchain: [], docchain: [] }
  readonly hashes: Record<ChainName, MemoryHashes> = { userchain: new MemoryHashes(), docchain: new MemoryHashes() }
  readonly ranges: Record<ChainName, CompactRange> = { userchain: new CompactRange(), docchain: new CompactRange() }
  /** Time of cosignatures and SEALs. */
  nowMs = Date.now()
  readonly onBlock = new Set<() => void>()
  #counter = 0

  constructor(consortium: Consortium) {
    this.consortium = consortium
    const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
    this.ledger = Ledger.open({ genesis: consortium.genesis.bytes, stores })
    for (const chain of ['userchain', 'docchain'] as const) this.#append(chain, blockZero(consortium.genesis, chain))
  }

  #append(chain: ChainName, leaves: readonly Uint8Array[]): void {
    for (const leaf of leaves) {
      this.leaves[chain].push(leaf)
      this.ranges[chain].append(leafHash(leaf), this.hashes[chain].keep)
    }
  }

  /** Seals the valid ones of the candidates as one block. */
  block(chain: ChainName, candidates: readonly Transaction[]): PendingBlock | undefined {
    this.nowMs = Math.max(this.nowMs + 1, Date.now())
    const { pending } = this.ledger.buildBlock({ chain, candidates, nowMs: this.nowMs })
    if (pending === undefined) return undefined
    this.ledger.commit(pending)
    this.#append(chain, pending.leaves)
    for (const listener of [...this.onBlock]) listener()
    return pending
  }

  sign(
    chain: ChainName,
    body: TransactionBody,
    signers: Parameters<typeof signTransaction>[0]['signers'],
  ): Transaction {
    return signTransaction({ ledgerId: this.ledger.ledgerId, chain, body, signers })
  }

  id(transaction: Transaction, chain: ChainName = 'userchain'): Uint8Array {
    return this.ledger.transactionId(chain, transaction)
  }

  /** A `register`, not committed. */
  registration(role = 1): { transaction: Transaction; person: Registered } {
    const [root, op] = [generateSigningKey(), generateSigningKey()]
    const { organisation } = this.consortium
    const body = {
      v: 1,
      t: 'register',
      role,
      root: root.publicKey,
      op: op.publicKey,
      kem: generateKemKeyPair().publicKey,
      suite: 1,
      sponsor: organisation.account,
      salt: randomBytes(16),
    } as const
    const signers = [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account: organisation.account, key: 1, signingKey: organisation.op },
    ]
    const transaction = this.sign('userchain', body, signers)
    return { transaction, person: { account: this.id(transaction), root, op } }
  }

  /** An `algorithm`, not committed. */
  algorithm(act = 1, hash: Uint8Array = randomBytes(32)): Transaction {
    const { account, op } = this.consortium.organisation
    const body = { v: 1, t: 'algorithm', a: account, id: 'ecg', version: '1.0', hash, act } as const
    return this.sign('userchain', body, [{ account, key: 1, signingKey: op }])
  }

  /** A `licence` of a doctor, not committed. `state`: 1 active, 2 suspended. */
  licence(doctor: Person, state = 1): Transaction {
    const { account, op } = this.consortium.organisation
    this.#counter = Math.max(this.#counter + 1, this.nowMs)
    const times = { n: this.#counter, x: this.nowMs + hourMs }
    const range = { state, from: startMs, to: this.nowMs + 1000 * hourMs }
    const body = { v: 1, t: 'licence', a: account, ...times, doctor: doctor.account, ...range } as const
    return this.sign('userchain', body, [{ account, key: 1, signingKey: op }])
  }

  /** A `key` that begins generation 1 and gives `doctor` a grant over `streams`, without its envelope; not committed. */
  grant(patient: Registered, doctor: Person, streams: readonly Uint8Array[]): Transaction {
    this.#counter = Math.max(this.#counter + 1, this.nowMs)
    const { size, root } = this.ledger.head('userchain')
    const slot = Math.floor(this.nowMs / hourMs)
    const open = [[randomBytes(16), doctor.account, [...streams], slot, this.nowMs + 1000 * hourMs, 3, 1]] as const
    const times = { n: this.#counter, x: this.nowMs + hourMs }
    const keys = { gen: 1, first: slot, cut: [], close: [], open, env: [], why: 1, seen: [size, root] } as const
    const { account } = patient
    return this.sign('userchain', { v: 1, t: 'key', a: account, ...times, ...keys }, [
      { account, key: 0, signingKey: patient.root },
      { account, key: 1, signingKey: patient.op },
    ])
  }

  /** A `device`, not committed. */
  device(patient: Person, streams: readonly Uint8Array[]): Transaction {
    this.#counter = Math.max(this.#counter + 1, this.nowMs)
    const times = { n: this.#counter, x: this.nowMs + hourMs }
    const body = {
      v: 1,
      t: 'device',
      a: patient.account,
      ...times,
      dev: randomBytes(16),
      act: 1,
      streams: [...streams],
      cert: randomBytes(32),
    } as const
    return this.sign('userchain', body, [{ account: patient.account, key: 1, signingKey: patient.op }])
  }

  /** The published checkpoint as the node of `rank` serves it. */
  checkpoint(
    chain: ChainName,
    rank = 0,
    at: { size?: number; root?: Uint8Array; cosigners?: number; ms?: number } = {},
  ): string {
    const { nodes, genesis } = this.consortium
    const head = this.ledger.head(chain)
    const origin = chainOrigin({ ledgerId: genesis.ledgerId, chain })
    const size = at.size ?? head.size
    const root = at.root ?? this.ledger.index(chain).boundary(size)?.root ?? new Uint8Array(32)
    const own = signCheckpoint({ origin, size, root }, (nodes[rank] as NodeKeys).log[chain])
    const cosigners = nodes.slice(0, at.cosigners ?? genesis.body.q)
    const lines = cosigners.map((node, i) =>
      cosignCheckpoint({ origin, size, root }, { rank: i, signer: node.cosigner[chain], nowMs: at.ms ?? Date.now() }),
    )
    return addSignatures(own, lines)
  }

  proofOf(chain: ChainName, index: number, checkpoint: string): string {
    const size = this.ledger.head(chain).size
    return encodeProof({ index, hashes: inclusionProof({ index, size }, this.hashes[chain].read), checkpoint })
  }
}

/** The leaves of block 0, which genesis fixes: taken from a ledger of its own. */
function blockZero(genesis: Genesis, chain: ChainName): readonly Uint8Array[] {
  const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
  const ledger = Ledger.open({ genesis: genesis.bytes, stores })
  const head = ledger.head(chain)
  const leaf = concatBytes(Uint8Array.of(0x83, 0x01), genesis.bytes, Uint8Array.of(0x80))
  const anchor = head.anchor === undefined ? {} : { anchor: [[head.anchor.size, head.anchor.root]] }
  const emptyRoot = new CompactRange().root
  const seal = {
    h: 0,
    i0: 0,
    k: 1,
    psize: 0,
    proot: emptyRoot,
    st: head.stateRoot,
    ms: head.ms,
    rules: 1,
    ...anchor,
  } as unknown as CborMap
  return [leaf, encodeCbor([2, seal])]
}

/** How a server departs from the truth. */
export interface Lies {
  /** Changes what is served of a block. */
  frame?: (frame: { height: number; firstIndex: number; leaves: Uint8Array[]; checkpoint: string }) => void
  /** Drops blocks of a page. */
  page?: (frames: unknown[]) => unknown[]
  checkpoint?: (chain: ChainName) => string
  /** Accepts and does nothing. */
  swallow?: boolean
  /** Answers 429 to a submission of such transactions. */
  turnsAway?: (transactions: readonly Transaction[]) => boolean
  /** Signs that it refuses whatever is submitted, by this rule. */
  refuses?: string
  /** Signs that it defers whatever it is asked about, since this is missing. */
  defers?: string
  /** Signs with a key that is no node's. */
  forge?: boolean
  /** Answers this status to everything. */
  status?: number
  /** Answers this status to whoever wants a stream. */
  streamStatus?: number
  receipt?: (bytes: Uint8Array) => Uint8Array
  /** Changes an entry of a bundle. */
  entry?: (chain: ChainName, index: number, leaf: Uint8Array) => Uint8Array
  /** Changes an entry bundle. */
  bundle?: (bytes: Uint8Array) => Uint8Array
  /** Ends the connection upon such a request, in place of an answer. */
  cut?: (path: string) => boolean
  /** Paths (`userchain/tile/…`, `userchain/state`, `userchain/receipt/<id>`, `incidents`) that are not found. */
  missing?: (path: string) => boolean
  /** Changes a hash tile. */
  tile?: (path: string, bytes: Uint8Array) => Uint8Array
  /** Changes the value that is served as a record of the state. */
  stateValue?: (value: Uint8Array) => Uint8Array
  /** What `GET /v1/incidents` answers. */
  incidents?: () => unknown
}

/** A running server. */
export interface TestNode {
  readonly url: string
  readonly lies: Lies
  readonly calls: string[]
  /** Leaves in the order of their arrival. */
  readonly received: Uint8Array[]
  close(): Promise<void>
}

/** Starts a server over a history. Frames per page: `pageBlocks`. */
export async function startTestNode(
  history: TestLedger,
  options: {
    rank?: number
    pageBlocks?: number
    lies?: Lies
    deadlineMs?: number
    port?: number
    /** The one that entries and blocks ask for; null: any. */
    token?: string | null
  } = {},
): Promise<TestNode> {
  const app = fastify({ forceCloseConnections: true })
  const rank = options.rank ?? 0
  const node = { lies: options.lies ?? {}, calls: [] as string[], received: [] as Uint8Array[] }
  for (const type of ['application/cbor', 'application/cbor-seq'])
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onRequest', async (request, reply) => {
    node.calls.push(request.url)
    if (node.lies.cut?.(request.url) === true) {
      request.raw.socket.destroy()
      return reply.hijack()
    }
    if (node.lies.status !== undefined)
      return reply.code(node.lies.status).send({ code: 'ERR_TEST', detail: 'as told' })
  })
  const context: Context = {
    app,
    history,
    rank,
    node,
    pageBlocks: options.pageBlocks ?? 100,
    deadlineMs: options.deadlineMs ?? 30_000,
    isKnown: (authorization) => options.token === null || authorization === `Bearer ${options.token ?? 'test-token'}`,
    refusals: new Map(),
  }
  addReading(context)
  addBlocks(context)
  addSubmission(context)
  const url = await app.listen({ host: '127.0.0.1', port: options.port ?? 0 })
  return { ...node, url, close: () => app.close() }
}

interface Context {
  readonly app: FastifyInstance
  readonly history: TestLedger
  readonly rank: number
  readonly node: { lies: Lies; calls: string[]; received: Uint8Array[] }
  readonly pageBlocks: number
  readonly deadlineMs: number
  /** True of a header that names the token which entries and blocks ask for. */
  readonly isKnown: (authorization: string | undefined) => boolean
  readonly refusals: Map<string, CborValue>
}

function addReading({ app, history, rank, node, isKnown }: Context): void {
  const checkpointOf = (chain: ChainName): string => node.lies.checkpoint?.(chain) ?? history.checkpoint(chain, rank)
  app.get('/:chain/checkpoint', async (request) => checkpointOf((request.params as { chain: ChainName }).chain))
  app.get('/:chain/tile/*', async (request, reply) => {
    const { chain, '*': rest } = request.params as { chain: ChainName; '*': string }
    const tile = parseTilePath(`tile/${rest}`)
    if (node.lies.missing?.(`${chain}/tile/${rest}`) === true) return reply.code(404).send({ code: 'ERR_NOT_FOUND' })
    if (tile.kind === 'entries') {
      if (!isKnown(request.headers.authorization)) return reply.code(401).send({ code: 'ERR_TOKEN_MISSING' })
      const first = tile.index * tileWidth
      const leaves = history.leaves[chain].slice(first, first + tile.width)
      if (leaves.length !== tile.width) return reply.code(404).send({ code: 'ERR_NOT_FOUND' })
      const told = leaves.map((leaf, i) => node.lies.entry?.(chain, first + i, leaf) ?? leaf)
      const bundle = encodeEntryBundle(told)
      return reply.send(Buffer.from(node.lies.bundle?.(bundle) ?? bundle))
    }
    const bytes = encodeHashTile(history.hashes[chain].read(tileNodes(tile)))
    return reply.send(Buffer.from(node.lies.tile?.(`${chain}/${tilePath(tile)}`, bytes) ?? bytes))
  })
  app.get('/v1/:chain/transactions/:id/receipt', async (request, reply) => {
    const { chain, id } = request.params as { chain: ChainName; id: string }
    const index = history.ledger.index(chain).find(fromHex(id))
    const isMissing = index === undefined || node.lies.missing?.(`${chain}/receipt/${id}`) === true
    if (isMissing) return reply.code(404).send({ code: 'ERR_NOT_FOUND' })
    const checkpoint = history.checkpoint(chain, rank)
    const hashes = inclusionProof({ index, size: history.ledger.head(chain).size }, history.hashes[chain].read)
    const transaction = { leaf: history.leaves[chain][index] as Uint8Array, index, hashes, checkpoint }
    const bytes = createReceipt({ genesis: history.consortium.genesis, chain, transaction })
    return reply.send(Buffer.from(node.lies.receipt?.(bytes) ?? bytes))
  })
  app.get('/v1/:chain/state', async (request, reply) => {
    const { chain } = request.params as { chain: ChainName }
    if (node.lies.missing?.(`${chain}/state`) === true) return reply.code(404).send({ code: 'ERR_NOT_FOUND' })
    const key = fromBase64Url((request.query as { key: string }).key)
    const { value: known, proof } = history.ledger.prove(chain, key)
    const value = known === undefined ? undefined : (node.lies.stateValue?.(known) ?? known)
    const head = history.ledger.head(chain)
    const pair = proof.leaf === undefined ? null : [toBase64(proof.leaf.pathHash), toBase64(proof.leaf.valueHash)]
    return {
      height: head.height,
      size: head.size,
      value: value === undefined ? null : toBase64(value),
      proof: {
        key: toBase64(key),
        leaf: pair,
        siblings: proof.siblings.map(toBase64),
        value: value === undefined ? null : toBase64(value),
      },
      seal: toBase64(history.leaves[chain].at(-1) as Uint8Array),
      inclusion: history.proofOf(chain, head.size - 1, history.checkpoint(chain, rank)),
    }
  })
  app.get('/v1/:chain/head', async (request) => ({
    size: history.ledger.head((request.params as { chain: ChainName }).chain).size,
  }))
  app.get('/v1/incidents', async (_request, reply) => {
    if (node.lies.missing?.('incidents') === true) return reply.code(404).send({ code: 'ERR_NOT_FOUND' })
    return node.lies.incidents?.() ?? []
  })
}

function frameOf({ history, rank, node }: Context, chain: ChainName, height: number, last: boolean): Uint8Array {
  const index = history.ledger.index(chain)
  const end = index.boundaryAt(height)?.size as number
  const start = height === 0 ? 0 : (index.boundaryAt(height - 1)?.size as number)
  const checkpoint = last ? (node.lies.checkpoint?.(chain) ?? history.checkpoint(chain, rank)) : ''
  const frame = { height, firstIndex: start, leaves: history.leaves[chain].slice(start, end), checkpoint }
  node.lies.frame?.(frame)
  return encodeCbor([frame.height, frame.firstIndex, frame.leaves, encodeUtf8(frame.checkpoint)])
}

function addBlocks(context: Context): void {
  const { app, history, node, isKnown } = context
  app.get('/v1/:chain/blocks', async (request, reply) => {
    if (!isKnown(request.headers.authorization)) return reply.code(401).send({ code: 'ERR_TOKEN_MISSING' })
    const { chain } = request.params as { chain: ChainName }
    const from = Number((request.query as { from: string }).from)
    const first = history.ledger.index(chain).boundaryAfter(from)?.height
    const newest = (): number => history.ledger.head(chain).height
    const isStream = request.headers.accept === 'text/event-stream'
    if (isStream && node.lies.streamStatus !== undefined)
      return reply.code(node.lies.streamStatus).send({ code: 'ERR_TEST', detail: 'as told' })
    if (isStream) return stream(context, chain, first ?? newest() + 1, reply)
    if (first === undefined) return reply.send(Buffer.alloc(0))
    const end = Math.min(newest(), first + context.pageBlocks - 1)
    let heights = Array.from({ length: end - first + 1 }, (_, i) => first + i)
    heights = (node.lies.page?.(heights) as number[] | undefined) ?? heights
    return reply.send(
      Buffer.concat(heights.map((height, i) => frameOf(context, chain, height, i === heights.length - 1))),
    )
  })
}

function stream(context: Context, chain: ChainName, first: number, reply: FastifyReply): FastifyReply {
  const { history } = context
  reply.hijack()
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
  reply.raw.write(': here\n\n')
  let next = first
  const send = (): void => {
    for (; next <= history.ledger.head(chain).height; next++) {
      reply.raw.write(`id: ${next}\ndata: ${toBase64(frameOf(context, chain, next, true))}\n\n`)
    }
  }
  send()
  history.onBlock.add(send)
  reply.raw.on('close', () => history.onBlock.delete(send))
  return reply
}

function addSubmission(context: Context): void {
  const { app, history, rank, node, refusals } = context
  const { consortium, ledger } = history
  const gateway = genesisAccount(ledger.ledgerId, (consortium.nodes[rank] as NodeKeys).node.publicKey)
  const sign = (name: 'accepted' | 'refused' | 'deferred', statement: object): CborValue => {
    const signingKey = node.lies.forge ? generateSigningKey() : (consortium.nodes[rank] as NodeKeys).node
    const signed = signStatement({ name, statement: statement as never, ledgerId: ledger.ledgerId, signingKey })
    return [decodeCbor(signed.statement), signed.signature]
  }
  app.post('/v1/:chain/transactions', async (request, reply) => {
    const { chain } = request.params as { chain: ChainName }
    const bytes = new Uint8Array(request.body as Uint8Array)
    const transactions: Transaction[] = []
    for (let offset = 0; offset < bytes.length; ) {
      const { end } = decodeCborAt(bytes, offset)
      transactions.push(parseTransactionLeaf(bytes.slice(offset, end)))
      offset = end
    }
    if (node.lies.turnsAway?.(transactions) === true)
      return reply.code(429).send({ code: 'ERR_TEST', detail: 'as told' })
    node.received.push(...transactions.map(({ leaf }) => leaf))
    const txs = transactions.map((transaction) => history.id(transaction, chain))
    const refusalOf = (tx: Uint8Array, rule: string): CborValue => {
      const { height, stateRoot: st } = ledger.head(chain)
      return sign('refused', { v: 1, chain: chains[chain], gateway, tx, rule: ruleText(rule), height, st })
    }
    const { refuses } = node.lies
    if (refuses !== undefined) {
      const refused = txs.map((tx) => refusalOf(tx, refuses))
      return reply.code(422).send(Buffer.from(encodeCbor({ refused })))
    }
    if (!node.lies.swallow) {
      history.block(chain, transactions)
      for (const transaction of transactions) {
        const id = history.id(transaction, chain)
        const verdict = ledger.judge(chain, transaction, { atMs: history.nowMs + 1 })
        if (verdict.verdict !== 'refused' || verdict.rule.endsWith('.duplicate')) continue
        refusals.set(toHex(id), refusalOf(id, verdict.rule))
      }
    }
    const promise = sign('accepted', {
      v: 1,
      chain: chains[chain],
      gateway,
      txs,
      height: ledger.head(chain).height,
      deadline: Date.now() + context.deadlineMs,
    })
    return reply.code(202).send(Buffer.from(encodeCbor({ promise, refused: [] })))
  })
  app.post('/v1/:chain/answers', async (request, reply) => {
    const { chain } = request.params as { chain: ChainName }
    const { txs } = decodeCbor(new Uint8Array(request.body as Uint8Array)) as unknown as { txs: Uint8Array[] }
    const answers = txs.map((id): CborValue => {
      const { defers: missing } = node.lies
      if (missing !== undefined) {
        const { height } = ledger.head(chain)
        const deferred = sign('deferred', { v: 1, chain: chains[chain], gateway, tx: id, missing, height })
        return [4, ...(deferred as CborValue[])]
      }
      const index = ledger.index(chain).find(id)
      if (index !== undefined)
        return [2, index, ledger.index(chain).boundaryAfter(index)?.height as number, ledger.head(chain).size]
      const refusal = refusals.get(toHex(id))
      return refusal === undefined ? [1] : [3, ...(refusal as CborValue[])]
    })
    return reply.send(Buffer.from(encodeCbor(answers)))
  })
}
