import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fromHex, toBase64Url } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCborAt } from '@healthblock/encoding/cbor'
import { readerToken } from '../cluster/enrol.ts'
import { clusterPaths } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { runPatient } from '../commands/patient.ts'
import { eventually, runJson, type StepResult, type Story } from './story.ts'

const damagedStorage = 'storage-1'
/** The node whose ledger is altered. */
export const damagedAccounting = 'accounting-2'

interface Reading {
  readonly cid: string
  readonly transactionId: string
  readonly kind: string
}

function urlOf(story: Story, node: string): string {
  const { url } = readProcess(clusterPaths.node(story.dir, node))
  if (url === undefined) throw new Error(`${node} does not run`)
  return url
}

async function get(url: string, path: string, token: string, method = 'GET'): Promise<Response> {
  return fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(20_000),
  })
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Flips the lowest bit of one byte of a file. */
function flipByteAt(path: string, offset: number): void {
  const file = openSync(path, 'r+')
  try {
    const byte = new Uint8Array(1)
    readSync(file, byte, 0, 1, offset)
    byte[0] = (byte[0] as number) ^ 1
    writeSync(file, byte, 0, 1, offset)
  } finally {
    closeSync(file)
  }
}

/** Flips the lowest bit of the middle byte of `needle` wherever files below the folder hold it. */
export function flipByteInFiles(folder: string, needle: Uint8Array): string[] {
  const changed: string[] = []
  for (const path of filesBelow(folder)) {
    if (statSync(path).size > 512 * 1024 * 1024) continue
    const at = readFileSync(path).indexOf(needle)
    if (at === -1) continue
    flipByteAt(path, at + Math.floor(needle.length / 2))
    changed.push(path)
  }
  return changed
}

/** Length of what a row has in place of a large block: number of the pack u32, offset u64, length u32 (`services/storage/SPEC.md` §8). */
const markBytes = 16
/** Digest and length, before the bytes of a block in a pack. */
const packedHeadBytes = 36

/**
 * Flips one bit of a stored block on a storage node whose folder this is: in the pack where it lies, or in its row. True if the node held
 * the block. What is changed in a row shows a moment later: reads share a view of the tables.
 */
export function flipStoredBlock(folder: string, digest: Uint8Array): boolean {
  for (const path of filesBelow(folder).filter((name) => name.endsWith('.db'))) {
    const database = new DatabaseSync(path)
    try {
      database.exec('PRAGMA busy_timeout = 5000')
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'block'").all()
      if (tables.length === 0) continue
      const row = database.prepare('SELECT sealed FROM block WHERE digest = ?').get(digest) as
        | { sealed: Uint8Array }
        | undefined
      if (row === undefined) continue
      const sealed = Uint8Array.from(row.sealed)
      if (sealed.length === markBytes) {
        const mark = new DataView(sealed.buffer)
        const middle = Number(mark.getBigUint64(4)) + packedHeadBytes + Math.floor(mark.getUint32(12) / 2)
        flipByteAt(join(`${path}-packs`, String(mark.getUint32(0))), middle)
        return true
      }
      const middle = Math.floor(sealed.length / 2)
      sealed[middle] = (sealed[middle] as number) ^ 1
      return database.prepare('UPDATE block SET sealed = ? WHERE digest = ?').run(sealed, digest).changes === 1
    } finally {
      database.close()
    }
  }
  return false
}

function cidText(digest: Uint8Array): string {
  // CIDv1, raw, SHA-256 in base64url multibase.
  return `u${toBase64Url(Uint8Array.of(1, 0x55, 0x12, 0x20, ...digest))}`
}

async function tamperWithBlock(story: Story): Promise<Record<string, unknown>> {
  const readings = (await runJson<Reading[]>(story, runPatient, ['readings', 'anna'])).value
  const cid = readings.find(({ kind }) => kind === 'ecg')?.cid ?? ''
  const digest = fromHex(cid)
  // Whom Anna's node knows as one who looks whether sealed blocks are whole: anybody else's look would alarm her.
  const token = readerToken(story.dir, 'auditor', 'storage')
  const url = urlOf(story, damagedStorage)
  const flipped = await eventually(
    async () => (flipStoredBlock(clusterPaths.node(story.dir, damagedStorage), digest) ? true : undefined),
    10_000,
  )
  const response = await get(url, `/api/v0/block/get?arg=${cidText(digest)}`, token, 'POST')
  const bytes = new Uint8Array(await response.arrayBuffer())
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  const incident = await eventually(async () => {
    const answer = (await (await get(url, '/v1/incidents', token)).json()) as { incidents: Record<string, unknown>[] }
    return answer.incidents.find((entry) => entry.digest === cid)
  }, 10_000)
  return {
    flipped: flipped === true,
    served: response.ok && hash.every((byte, index) => byte === digest[index]),
    incident,
    node: damagedStorage,
  }
}

/** The bytes of a leaf, as an accounting node serves them. */
async function fetchLeaf(url: string, token: string, index: number): Promise<Uint8Array | undefined> {
  const response = await get(url, `/v1/userchain/blocks?from=${index}&limit=1`, token)
  if (!response.ok) return undefined
  const [, first, leaves] = decodeCborAt(new Uint8Array(await response.arrayBuffer()), 0).value as [
    CborValue,
    number,
    Uint8Array[],
  ]
  return leaves[index - first]
}

async function tamperWithLedger(story: Story): Promise<Record<string, unknown>> {
  const { transactionId } = story.facts.get('revoked') as { transactionId: string }
  const token = readerToken(story.dir, 'auditor', 'ledger')
  const url = urlOf(story, damagedAccounting)
  const found = (await (await get(url, `/v1/userchain/transactions/${transactionId}`, token)).json()) as {
    index: number
    height: number
  }
  const honest = await fetchLeaf(urlOf(story, 'accounting-1'), token, found.index)
  if (honest === undefined) return { flipped: false }
  const files = flipByteInFiles(join(clusterPaths.node(story.dir, damagedAccounting), 'userchain'), honest)
  const healed = await eventually(async () => {
    const leaf = await fetchLeaf(url, token, found.index)
    return leaf?.every((byte, index) => byte === honest[index]) ? true : undefined
  }, 15_000)
  const incident = await eventually(async () => {
    const incidents = (await (await get(url, '/v1/incidents', token)).json()) as Record<string, unknown>[]
    return incidents.find((entry) => entry.index === found.index || entry.height === found.height)
  }, 10_000)
  return {
    flipped: files.length > 0,
    healed: healed === true,
    incident,
    node: damagedAccounting,
    index: found.index,
    height: found.height,
  }
}

/** A byte of a stored block and a byte of one node's ledger are altered: both are noticed, reported and healed. */
export async function tamperStep(story: Story): Promise<StepResult> {
  story.tell(
    `Somebody alters one byte of a stored block on ${damagedStorage}, and one byte of Anna's revocation in the ledger of ${damagedAccounting}.`,
  )
  const block = await tamperWithBlock(story)
  const ledger = await tamperWithLedger(story)
  const ok =
    block.flipped === true &&
    block.served === true &&
    block.incident !== undefined &&
    ledger.flipped === true &&
    ledger.healed === true &&
    ledger.incident !== undefined
  if (ok) {
    story.tell(
      `  both were noticed when read, reported with the node's name, and healed from the others. Nobody got altered bytes.`,
    )
    story.tell(`  ledger: ${damagedAccounting}, userchain, height ${ledger.height}, index ${ledger.index}.`)
  }
  return { step: 'tamper', ok, block, ledger }
}
