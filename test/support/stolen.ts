/** What a copy of a household's folder is good for: its op key signs in her name, until root replaces it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type KeyBody, signTransaction, type TransactionBody, transactionId } from '@healthblock/chain/transaction'
import { openHotStore } from '@healthblock/crypto/hot-store'
import { randomBytes } from '@healthblock/crypto/random'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { expect } from 'vitest'
import { eventually, type TestCluster } from './cluster.ts'

/** Reads the folder of a household of one person. */
export function stealHousehold(cluster: TestCluster, folder: string) {
  const account = fromHex(cluster.file.patients[0]?.account as string)
  const ledgerId = fromHex(cluster.file.ledgerId)
  const database = new DatabaseSync(join(folder, 'node.db'), { readOnly: true })
  const wrappingKey = fromHex(readFileSync(join(folder, 'hot.key'), 'utf8').trim())
  const hot = openHotStore({ file: database.prepare('SELECT hot FROM person').get()?.hot as Uint8Array, wrappingKey })
  const committed = "SELECT body FROM consent WHERE state = 'committed' ORDER BY changed DESC LIMIT 1"
  const newest = decodeCbor(database.prepare(committed).get()?.body as Uint8Array) as unknown as KeyBody
  const streams = database.prepare('SELECT stream, kind, sequence FROM stream ORDER BY kind').all() as {
    stream: Uint8Array
    kind: string
    sequence: number
  }[]
  database.close()
  let n = Date.now() + 10_000
  const consent = () => ({ v: 1, a: account, n: n++, x: Date.now() + 3_600_000 }) as const
  /** Gives the rule that refused it; undefined: it is on record. */
  const post = async (body: TransactionBody): Promise<string | undefined> => {
    const signers = [{ account, key: 1, signingKey: signingKeyFromSeed(hot.opSeed) }]
    const { leaf, bodyBytes } = signTransaction({ ledgerId, chain: 'userchain', body, signers })
    const tx = transactionId({ ledgerId, chain: 'userchain', bodyBytes })
    const url = (path: string): URL => new URL(`/v1/userchain/${path}`, cluster.url('accounting-0'))
    const type = (name: string) => ({ method: 'POST', headers: { 'content-type': `application/${name}` } })
    const taken = await fetch(url('transactions'), { ...type('cbor-seq'), body: leaf as Uint8Array<ArrayBuffer> })
    if (taken.status === 422) {
      // Refused at the door: a statement and its signature.
      const { refused } = decodeCbor(new Uint8Array(await taken.arrayBuffer())) as unknown as {
        refused: [{ rule: string }][]
      }
      return refused[0]?.[0].rule
    }
    expect(taken.status).toBe(202)
    const [code, what] = await eventually('an answer', async () => {
      const answer = await fetch(url('answers'), { ...type('cbor'), body: encodeCbor({ txs: [tx], waitms: 1_000 }) })
      if (!answer.ok) return undefined
      const [told] = decodeCbor(new Uint8Array(await answer.arrayBuffer())) as unknown as [[number, { rule?: string }]]
      return told[0] === 2 || told[0] === 3 ? told : undefined
    })
    return code === 2 ? undefined : what.rule
  }
  return {
    ...{ account, hot, newest, streams, consent, post },
    /** Adds a device in her name. */
    addDevice: (stream: Uint8Array = randomBytes(8)): Promise<string | undefined> => {
      const fields = { dev: randomBytes(16), act: 1, streams: [stream], cert: randomBytes(32) }
      return post({ ...consent(), t: 'device', ...fields })
    },
  }
}
