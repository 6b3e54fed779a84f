import { rmSync } from 'node:fs'
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { CompactRange, leafHash, MemoryHashes } from '@healthblock/chain/merkle'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { verifyStateProof } from '@healthblock/chain/state-tree'
import { docTables, userTables } from '@healthblock/chain/tables'
import { encodeHashTile, parseEntryBundle, tileNodes } from '@healthblock/chain/tile'
import { encodeTransactionLeaf, signTransaction, type Transaction } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { concatBytes, fromBase64, toBase64, toBase64Url, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redisInstalled } from '../../../test/support/redis.ts'
import { algorithmTransaction } from '../../../test/support/sample-ledger.ts'
import { Client, headOf, People, type Person, readSequence } from './client.ts'
import { adminSecret, ProcessCluster } from './processes.ts'

const describeNode = redisInstalled ? describe : describe.skip

describeNode('one node of a ledger of one', () => {
  let cluster: ProcessCluster
  let client: Client
  let docchain: Client
  let people: People
  let auditor: Person
  const admin = { authorization: `Bearer ${adminSecret}` }
  const seal = (height: number): Promise<Response> => client.get(`/v1/userchain/blocks?from=${height}`)

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ n: 1, q: 1 })
    const { url } = cluster.nodes[0] as { url: string }
    client = new Client(url, cluster.ledger)
    docchain = new Client(url, cluster.ledger, 'docchain')
    people = new People(cluster.ledger)
    const { transaction, person } = people.register(7)
    await client.commit(transaction)
    auditor = person
    client.token = people.token(auditor)
  })
  afterAll(() => cluster?.stop())

  test('a transaction that is submitted twice has one promise and one index', async () => {
    const transaction = algorithmTransaction(cluster.ledger, 'twice')
    const [first, second] = await Promise.all([client.submit(transaction), client.submit(transaction, transaction)])
    expect(first.promise?.bytes).toEqual(second.promise?.bytes)
    expect(first.promise?.statement.txs).toEqual([client.idOf(transaction)])
    const [[kind, index] = []] = await client.answers([client.idOf(transaction)], 30_000)
    expect(kind).toBe(2)
    const again = await client.submit(transaction)
    expect(again.status).toBe(202)
    expect((await client.answers([client.idOf(transaction)], 0))[0]?.[1]).toBe(index)
    expect((await client.receipt(client.idOf(transaction)))?.index).toBe(index)
    const found = await (await client.get(`/v1/userchain/transactions/${toHex(client.idOf(transaction))}`)).json()
    expect(found).toMatchObject({ status: 'committed', index })
  })

  test('what is malformed or wrongly signed is refused, signed, with its rule', async () => {
    const good = algorithmTransaction(cluster.ledger, 'good')
    const other = algorithmTransaction(cluster.ledger, 'other')
    const forged = encodeTransactionLeaf({ bodyBytes: other.bodyBytes, signatures: good.signatures })
    const shapeless = encodeCbor([1, { v: 1, t: 'algorithm' }, []])
    const diagnosis = encodeCbor(['what', 7])
    const body = Buffer.concat([forged, shapeless, diagnosis, good.leaf])
    const answer = await client.submitBytes(new Uint8Array(body))
    expect(answer.status).toBe(202)
    expect(answer.promise?.statement.txs).toEqual([client.idOf(good)])
    expect(answer.refused.map(({ statement }) => statement.rule).sort()).toEqual([
      'algorithm.format',
      'algorithm.signature',
      'transaction.format',
    ])
    expect(answer.refused.find(({ statement }) => statement.rule === 'algorithm.signature')?.statement.tx).toEqual(
      client.idOf(other),
    )
    const all = await client.submitBytes(forged)
    expect([all.status, all.promise]).toEqual([422, undefined])
    // A Userchain transaction on Docchain.
    const misplaced = await docchain.submit(good)
    expect(misplaced.refused.map(({ statement }) => statement.rule)).toEqual(['algorithm.format'])
  })

  test.each([
    ['not CBOR', Uint8Array.of(0xff, 0x00), 400],
    ['nothing', new Uint8Array(0), 400],
    ['257 items', new Uint8Array(257), 413],
    ['more than 1 MiB', new Uint8Array(1024 * 1024 + 1), 413],
  ])('a body of %s changes nothing', async (_, body, status) => {
    expect((await client.submitBytes(body)).status).toBe(status)
  })

  test.each([
    ['where there is nothing', '/nowhere', 404],
    ['where an administrator is asked for little', '/v1/audits', 400],
  ])('%s a body of more than 64 KiB is not read', async (_, path, statusOfSmall) => {
    const post = async (sizeBytes: number): Promise<number> => {
      const headers = { 'content-type': 'application/octet-stream', authorization: `Bearer ${adminSecret}` }
      const answer = await fetch(new URL(path, client.url), {
        method: 'POST',
        headers,
        body: new Uint8Array(sizeBytes),
      })
      await answer.arrayBuffer()
      return answer.status
    }
    expect(await post(64 * 1024)).toBe(statusOfSmall)
    expect(await post(64 * 1024 + 1)).toBe(413)
  })

  test('what is written in another form, too large, of another ledger, or of the future, is refused and changes nothing', async () => {
    const { organisation } = cluster.ledger
    const good = algorithmTransaction(cluster.ledger, 'form')
    // The same map with a head that is not the shortest: other bytes for one transaction.
    const longHead = new Uint8Array([
      ...good.leaf.subarray(0, 2),
      0xb8,
      (good.leaf[2] as number) & 31,
      ...good.leaf.subarray(3),
    ])
    expect((await client.submitBytes(longHead)).status).toBe(400)
    expect((await client.submitBytes(new Uint8Array([...good.leaf, 0x9f]))).status).toBe(400)
    const rules = async (...leaves: Uint8Array[]) =>
      (await client.submitBytes(concatBytes(...leaves))).refused.map(({ statement }) => statement.rule)
    const oversized = encodeCbor([1, { v: 1, t: 'algorithm', x: new Uint8Array(65_536) }, []])
    expect(await rules(oversized)).toEqual(['transaction.format'])
    const elsewhere = algorithmTransaction({ ...cluster.ledger, ledgerId: randomBytes(32) }, 'elsewhere')
    expect(await rules(elsewhere.leaf)).toEqual(['algorithm.signature'])
    const { transaction, person: doctor } = people.register(2)
    await client.commit(transaction)
    const dayMs = 86_400_000
    const licence = (n: number, x: number) =>
      signTransaction({
        ...{ ledgerId: cluster.ledger.ledgerId, chain: 'userchain' },
        body: { v: 1, t: 'licence', a: organisation.account, n, x, doctor: doctor.account, state: 1, from: 1, to: 2 },
        signers: [{ account: organisation.account, key: 1, signingKey: organisation.op }],
      })
    const now = Date.now()
    const verdicts: [string, Transaction][] = [
      ['licence.counter', licence(now + 2 * dayMs, now + 60_000)],
      ['licence.expiry', licence(now, now + 2 * dayMs)],
      ['licence.expiry', licence(now, now - 60_000)],
      ['licence.counter', licence(0, now + 60_000)],
    ]
    for (const [rule, future] of verdicts) {
      const submitted = await client.submit(future)
      const atOnce = submitted.refused.map(({ statement }) => statement.rule)
      if (submitted.promise === undefined) expect(atOnce).toEqual([rule])
      else {
        const [[kind, statement] = []] = await client.answers([client.idOf(future)], 10_000)
        expect([kind, (statement as { rule?: string }).rule]).toEqual([3, rule])
      }
    }
    // The same body under other signatures is the same transaction, with the place that it has.
    const [index] = await client.commit(good)
    const again = await client.submitBytes(
      encodeTransactionLeaf({ bodyBytes: good.bodyBytes, signatures: good.signatures }),
    )
    expect(again.refused).toEqual([])
    expect((await client.answers([client.idOf(good)], 0))[0]?.[1]).toBe(index)
  })

  test('readings out of order wait for what is missing, and are then committed', async () => {
    const patient = await people.enrolPatient(client)
    const stream = patient.streams[0] as Uint8Array
    const [first, second] = [people.iot(patient, stream, 1, 3), people.iot(patient, stream, 4, 2)]
    expect((await client.submit(second)).status).toBe(202)
    expect(await client.answers([client.idOf(second)], 300)).toEqual([[1]])
    await client.commit(first)
    const [[kind] = []] = await client.answers([client.idOf(second)], 30_000)
    expect(kind).toBe(2)
    // A closed sequence cannot become valid: refused from this node's own state, long before the deadline.
    const late = people.iot(patient, stream, 2)
    await client.submit(late)
    const [[refusal, statement] = []] = await client.answers([client.idOf(late)], 10_000)
    expect([refusal, (statement as { rule?: string }).rule]).toEqual([3, 'iot.sequence'])
    const found = await (await client.get(`/v1/userchain/transactions/${toHex(client.idOf(late))}`)).json()
    expect(found).toMatchObject({ status: 'refused', rule: 'iot.sequence' })
  })

  test('an id that nobody submitted is unknown, and has no receipt', async () => {
    expect(await client.answers([randomBytes(32)], 0)).toEqual([[0]])
    expect((await client.get(`/v1/userchain/transactions/${toHex(randomBytes(32))}/receipt`)).status).toBe(404)
  })

  const memberRoutes = [
    '/userchain/tile/entries/000.p/1',
    '/v1/userchain/blocks?from=0',
    '/v1/docchain/blocks?from=0',
    `/v1/userchain/transactions/${'0'.repeat(64)}`,
    '/v1/userchain/state?key=oA',
    '/v1/userchain/state?key=oA&height=0',
    '/v1/incidents',
    '/v1/directory',
    // Refused before it is looked for.
    '/userchain/tile/entries/x999/999',
  ]
  test.each(memberRoutes)('GET %s: 401 without a good token', async (path) => {
    const statuses: number[] = []
    const stranger: Person = { account: randomBytes(32), root: generateSigningKey(), op: generateSigningKey() }
    const tokens = [
      undefined,
      'nonsense',
      people.token(auditor, { untilMs: Date.now() - 1_000 }),
      people.token(auditor, { untilMs: Date.now() + 2 * 86_400_000 }),
      people.token(auditor, { scope: 'storage' }),
      people.token(auditor, { signingKey: auditor.root }),
      people.token(stranger),
    ]
    for (const token of tokens) {
      const bearer = new Client(client.url, cluster.ledger)
      bearer.token = token
      const response = await bearer.get(path)
      expect(response.headers.get('content-type')).toContain('application/problem+json')
      statuses.push(response.status)
    }
    expect(statuses).toEqual(tokens.map(() => 401))
  })

  test('the secret of administrators opens no member route, and a token no administrator route', async () => {
    expect((await client.get('/v1/userchain/blocks?from=0', admin)).status).toBe(403)
    const member = { authorization: `Bearer ${client.token}` }
    for (const path of ['/v1/sponsor', '/v1/licence', '/v1/algorithm', '/v1/incidents/0/acknowledge']) {
      expect((await client.post(path, 'application/json', '{}', member)).status).toBe(403)
      expect((await client.post(path, 'application/json', '{}')).status).toBe(401)
      expect((await client.post(path, 'application/json', '{}', { authorization: 'Bearer wrong' })).status).toBe(401)
    }
    expect((await client.post('/v1/incidents/0/acknowledge', 'application/json', '{}', admin)).status).toBe(404)
    expect((await client.post('/v1/sponsor', 'application/json', '{}', admin)).status).toBe(400)
  })

  test('tiles are public and are those of the entries; entries need a token', async () => {
    await client.commit(...Array.from({ length: 250 }, (_, i) => algorithmTransaction(cluster.ledger, `tile-${i}`)))
    const note = parseCheckpoint(await (await client.get('/userchain/checkpoint')).text())
    const entries: Uint8Array[] = []
    for (let index = 0; index * 256 < note.size; index++) {
      const width = Math.min(256, note.size - index * 256)
      const path = `/userchain/tile/entries/00${index}${width === 256 ? '' : `.p/${width}`}`
      const response = await client.get(path)
      expect(response.status).toBe(200)
      entries.push(...parseEntryBundle(new Uint8Array(await response.arrayBuffer()), width))
    }
    const hashes = new MemoryHashes()
    const range = new CompactRange()
    for (const entry of entries) range.append(leafHash(entry), hashes.keep)
    expect(range.root).toEqual(note.root)
    const anybody = new Client(client.url, cluster.ledger)
    for (const width of [1, 7, 100, 256]) {
      const path = `/userchain/tile/0/000${width === 256 ? '' : `.p/${width}`}`
      const bytes = new Uint8Array(await (await anybody.get(path)).arrayBuffer())
      expect(bytes).toEqual(encodeHashTile(hashes.read(tileNodes({ kind: 'hashes', level: 0, index: 0, width }))))
    }
    expect((await anybody.get('/userchain/tile/1/000.p/1')).status).toBe(200)
    for (const path of [
      '/userchain/tile/0/000.p/256',
      '/userchain/tile/0/999',
      '/userchain/tile/0/0',
      '/userchain/tile/x',
    ]) {
      expect((await anybody.get(path)).status).toBe(404)
    }
  })

  test('only what never changes may be kept by caches', async () => {
    const caching = async (path: string): Promise<string | null> => {
      const response = await client.get(path)
      await response.arrayBuffer()
      return response.headers.get('cache-control')
    }
    expect(await caching('/userchain/tile/0/000')).toBe('public, max-age=31536000, immutable')
    expect(await caching('/userchain/tile/entries/000')).toBe('private, max-age=31536000, immutable')
    const passing = [
      '/userchain/checkpoint',
      '/userchain/tile/0/000.p/7',
      '/userchain/tile/1/000.p/1',
      '/userchain/tile/entries/000.p/7',
      // Not there yet.
      '/userchain/tile/0/009',
      '/userchain/tile/entries/009',
    ]
    for (const path of passing) expect([path, await caching(path)]).toEqual([path, 'no-store'])
  })

  test('blocks come as pages and as a stream that resumes', async () => {
    const pages = readSequence(new Uint8Array(await (await client.get('/v1/userchain/blocks?from=0')).arrayBuffer()))
    const frames = pages as unknown as [number, number, Uint8Array[], Uint8Array][]
    expect(frames.map(([height]) => height)).toEqual(frames.map((_, height) => height))
    const last = frames.at(-1) as [number, number, Uint8Array[], Uint8Array]
    const { size, root } = parseCheckpoint(new TextDecoder().decode(last[3]))
    const range = new CompactRange()
    for (const [, i0, leaves] of frames) {
      expect(i0).toBe(range.size)
      for (const leaf of leaves) range.append(leafHash(leaf))
    }
    expect([range.size, range.root]).toEqual([size, root])
    expect((await (await seal(size)).arrayBuffer()).byteLength).toBe(0)

    const stopping = new AbortController()
    const response = await fetch(`${client.url}/v1/userchain/blocks?from=0`, {
      headers: {
        authorization: `Bearer ${client.token}`,
        accept: 'text/event-stream',
        'last-event-id': String(size),
      },
      signal: stopping.signal,
    })
    const transaction = algorithmTransaction(cluster.ledger, 'streamed')
    const [index] = await client.commit(transaction)
    let text = ''
    for await (const part of response.body as ReadableStream<Uint8Array>) {
      text += new TextDecoder().decode(part)
      if (text.includes('data: ') && text.endsWith('\n\n')) break
    }
    stopping.abort()
    const data = /^data: (.*)$/m.exec(text)?.[1] as string
    const [, i0, leaves, checkpoint] = decodeCbor(fromBase64(data)) as [number, number, Uint8Array[], Uint8Array]
    expect(toHex(leaves[(index as number) - i0] as Uint8Array)).toBe(toHex(transaction.leaf))
    expect(Number(/^id: (.*)$/m.exec(text)?.[1])).toBe(i0 + leaves.length)
    expect(parseCheckpoint(new TextDecoder().decode(checkpoint)).size).toBeGreaterThanOrEqual(i0 + leaves.length)
  })

  interface StateAnswer {
    readonly value: string | null
    readonly seal: string
    readonly height: number
    readonly size: number
    readonly inclusion: string
    readonly proof: { readonly siblings: string[]; readonly leaf: [string, string] | null }
  }

  /** Checks an answer as a reader does, and gives the record's bytes. */
  function provedValue(key: Uint8Array, found: StateAnswer): Uint8Array | undefined {
    const { h, st } = parseSealLeaf(fromBase64(found.seal))
    expect(h).toBe(found.height)
    const [pathHash, valueHash] = (found.proof.leaf ?? []).map(fromBase64)
    const siblings = found.proof.siblings.map(fromBase64)
    const proof = pathHash && valueHash ? { siblings, leaf: { pathHash, valueHash } } : { siblings }
    const value = found.value === null ? undefined : fromBase64(found.value)
    verifyStateProof({ key, value, proof, root: st })
    return value
  }

  async function stateAt(on: 'userchain' | 'docchain', key: Uint8Array, place: string): Promise<StateAnswer> {
    for (;;) {
      const response = await client.get(`/v1/${on}/state?key=${toBase64Url(key)}&${place}`)
      if (response.status === 200) return (await response.json()) as StateAnswer
      expect([202, 503]).toContain(response.status)
      await response.arrayBuffer()
    }
  }

  test('the state proves a record, and the absence of one', async () => {
    for (const [account, isThere] of [
      [auditor.account, true],
      [randomBytes(32), false],
    ] as const) {
      const key = userTables.account.key(account)
      const response = await client.get(`/v1/userchain/state?key=${toBase64Url(key)}`)
      const found = (await response.json()) as StateAnswer
      expect(provedValue(key, found) !== undefined).toBe(isThere)
    }
    expect((await client.get('/v1/userchain/state?key=%21')).status).toBe(400)
  })

  test('the state of an earlier block proves what was on record then, and what was not; forwards, backwards, and of Docchain', async () => {
    const { transaction, person } = people.register(2)
    const [index = Number.NaN] = await client.commit(transaction)
    const key = userTables.account.key(person.account)
    // So that the wanted block is not the newest.
    await client.commit(algorithmTransaction(cluster.ledger, 'afterwards'))
    const after = await stateAt('userchain', key, `index=${index}`)
    expect(provedValue(key, after)).toBeDefined()
    expect(after.size).toBeGreaterThan(index)
    const before = await stateAt('userchain', key, `height=${after.height - 1}`)
    expect(provedValue(key, before)).toBeUndefined()
    expect(before.height).toBe(after.height - 1)
    // At the beginning nobody was there but those of genesis.
    const known = userTables.account.key(auditor.account)
    expect(provedValue(known, await stateAt('userchain', known, 'height=0'))).toBeUndefined()
    expect(provedValue(known, await stateAt('userchain', known, `height=${after.height}`))).toBeDefined()
    const diagnosis = docTables.diagnosis.key(randomBytes(32))
    expect(provedValue(diagnosis, await stateAt('docchain', diagnosis, 'height=0'))).toBeUndefined()
    for (const place of ['height=999999', 'index=999999'])
      expect((await client.get(`/v1/userchain/state?key=${toBase64Url(key)}&${place}`)).status).toBe(404)
    expect((await client.get(`/v1/userchain/state?key=${toBase64Url(key)}&height=-1`)).status).toBe(400)
  })

  test('an administrator sponsors, licenses and registers algorithms', async () => {
    const { transaction, person } = people.register(2)
    const body = JSON.stringify({ body: toBase64(transaction.bodyBytes), name: 'Dr. Example' })
    const response = await client.post('/v1/sponsor', 'application/json', body, admin)
    const sponsored = (await response.json()) as { account: string; signature: string }
    expect(sponsored.account).toBe(toHex(person.account))
    const { account } = cluster.ledger.organisation
    const own = transaction.signatures.filter((one) => toHex(one.account) !== toHex(account))
    const signatures = [...own, { account, key: 1, signature: fromBase64(sponsored.signature) }]
    const leaf = encodeTransactionLeaf({ bodyBytes: transaction.bodyBytes, signatures })
    expect(toHex(leaf)).toBe(toHex(transaction.leaf))
    await client.commit(transaction)
    expect(await (await client.get('/v1/directory')).json()).toMatchObject([{ name: 'Dr. Example', role: 2 }])
    for (const [path, request] of [
      ['/v1/licence', { doctor: sponsored.account, state: 1, from: 1, to: Date.now() + 86_400_000 }],
      ['/v1/algorithm', { id: 'ecg', version: '1.0', hash: toHex(randomBytes(32)), act: 1 }],
    ] as const) {
      const answer = await client.post(path, 'application/json', JSON.stringify(request), admin)
      const { transactionId } = (await answer.json()) as { transactionId: string }
      const [[kind] = []] = await client.answers([new Uint8Array(Buffer.from(transactionId, 'hex'))], 30_000)
      expect(kind).toBe(2)
    }
    const foreign = JSON.stringify({ body: toBase64(encodeCbor({ v: 1, t: 'iot' })) })
    expect((await client.post('/v1/sponsor', 'application/json', foreign, admin)).status).toBe(422)
  })

  test('a revocation has a receipt of three parts', async () => {
    const { transaction, person: doctor } = people.register(2)
    await client.commit(transaction)
    const licence = { doctor: toHex(doctor.account), state: 1, from: 1, to: Date.now() + 86_400_000 }
    const answer = await client.post('/v1/licence', 'application/json', JSON.stringify(licence), admin)
    const { transactionId } = (await answer.json()) as { transactionId: string }
    await client.answers([new Uint8Array(Buffer.from(transactionId, 'hex'))], 30_000)
    const patient = await people.enrolPatient(client)
    const gid = randomBytes(16)
    const until = Date.now() + 30 * 86_400_000
    const epoch = Math.floor(Date.now() / 3_600_000)
    const grant = people.key(patient, {
      gen: 2,
      seen: await headOf(client),
      cut: patient.streams.map((stream) => [stream, 1, 0] as const),
      open: [[gid, doctor.account, patient.streams, epoch, until, 3, 1]],
      env: [[gid, 2, randomBytes(1472)]],
    })
    await client.commit(grant)
    const revocation = people.key(patient, {
      gen: 3,
      seen: await headOf(client),
      cut: patient.streams.map((stream) => [stream, 2, 0] as const),
      close: [gid],
      why: 2,
    })
    const [index] = await client.commit(revocation)
    const id = client.idOf(revocation)
    const early = await client.receipt(id)
    expect(early?.closed).toEqual([{ gid, closedAt: index }])
    // An idle Docchain seals a block that is anchored beyond the closing.
    const deadline = Date.now() + 20_000
    let receipt = early
    while (receipt?.anchored === undefined && Date.now() < deadline) receipt = await client.receipt(id)
    expect(receipt?.anchored?.size).toBeGreaterThan(index as number)
    expect(receipt?.kind).toBe('revocation')
  })

  test('what was promised while the queue was away survives a kill, and is committed', async () => {
    await cluster.redis.kill()
    const transactions = [1, 2, 3].map((i) => algorithmTransaction(cluster.ledger, `kept-${i}`))
    const { status, promise } = await client.submit(...transactions)
    expect([status, promise?.statement.txs]).toEqual([202, transactions.map((one) => client.idOf(one))])
    await cluster.end(0, 'SIGKILL')
    await cluster.redis.restart()
    cluster.launch(0)
    await cluster.ready(0)
    // Whether it is committed by now or not: handing it over again makes no second one.
    const again = await client.submit(transactions[0] as (typeof transactions)[0])
    expect(again.status).toBe(202)
    const answers = await client.answers(
      transactions.map((one) => client.idOf(one)),
      30_000,
    )
    expect(answers.map(([kind]) => kind)).toEqual([2, 2, 2])
    // Final: nothing of it is left in the outbox, and it has one index each.
    expect(new Set(answers.map(([, index]) => index as CborValue)).size).toBe(3)
  })

  test('a node stops in order, and says nothing on stdout', async () => {
    expect(await cluster.end(0, 'SIGTERM')).toBe(0)
    rmSync(`${cluster.nodes[0]?.dir}/userchain/tiles`, { recursive: true, force: true })
    cluster.launch(0)
    await cluster.ready(0)
    expect((await client.get('/healthz')).status).toBe(200)
    expect(await (await client.get('/metrics')).text()).toContain('accounting_published_size_leaves{chain="userchain"}')
    const openapi = (await (await client.get('/openapi.json')).json()) as { paths: object }
    expect(Object.keys(openapi.paths)).toContain('/v1/userchain/transactions')
  })
})
