/** Files on their way out: fetched leaf by leaf, checked, opened chunk by chunk; any range by itself. */
import { type FileCipher, lengthSizeBytes, openFileCipher, parseFileLength } from '@healthblock/crypto/chunked-file'
import { headerSizeBytes, payloadKinds } from '@healthblock/crypto/payload'
import type { Database } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import { turnOver } from '@healthblock/runtime/turnover'
import { blockOf, type FileNode, fileCid, type GetBlock, readFile, readFileNode } from '@healthblock/runtime/unixfs'
import { UserNodeError } from '../errors.ts'
import type { LedgerView } from '../ledger-view.ts'
import type { Session } from '../people/sessions.ts'
import { epochKeyOf, type PersonStream } from '../store/person.ts'
import { type FileDescription, parseDescription } from './file-content.ts'

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
  readonly storageOf: (account: Uint8Array) => StorageClient
}

/** An open file. */
export interface OpenFile extends FileDescription {
  /** Bytes of the content. */
  readonly sizeBytes: number
  /** The content from `offset` on, `length` bytes of it. The cipher's key is wiped when the source ends. */
  read(offset: number, length: number): AsyncGenerator<Uint8Array>
  close(): void
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(part)
  return Buffer.concat(parts)
}

/** Opens files with the person's vault: the hot store does not reach the past. */
export class Downloads {
  readonly #deps: Dependencies

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Opens a file by its number.
   *
   * @throws {UserNodeError} `ERR_FILE_UNKNOWN`; `ERR_FILE_ERASED` if its key is destroyed; {CryptoError} `ERR_OPEN_FAILED`;
   *   {RuntimeError} as `StorageClient.get`.
   */
  async open(session: Session, { stream }: PersonStream, sequence: number, signal: AbortSignal): Promise<OpenFile> {
    const { database, ledger, storageOf } = this.#deps
    const { person, vault } = session
    const row = database.get(
      "SELECT generation, epoch, size, cid FROM batch WHERE account = ? AND stream = ? AND sequence = ? AND kind = ? AND state <> 'uploading'",
      ...[person.account, stream, sequence, payloadKinds.file],
    )
    if (row === undefined) throw new UserNodeError('there is no such file', { code: 'ERR_FILE_UNKNOWN', sequence })
    const place = { stream, generation: Number(row.generation), epoch: Number(row.epoch) }
    const epochKey = epochKeyOf(vault.contents.nodes, place) ?? epochKeyOf(person.hot.nodes, place)
    if (epochKey === undefined) throw new UserNodeError('the file was erased', { code: 'ERR_FILE_ERASED', sequence })
    const storage = storageOf(person.account)
    const get: GetBlock = async (cid) => {
      const { digest, codec } = blockOf(cid)
      return await storage.get(digest, { codec, signal })
    }
    const root = await readFileNode(fileCid(row.cid as Uint8Array, 'dag-pb'), get)
    const header = await collect(readFile(root, get, { length: headerSizeBytes }))
    const accounts = { ledgerId: ledger.ledgerId, owner: person.account, writer: person.account }
    const expected = { kind: payloadKinds.file, ...accounts, ...place, sequence, sizeBytes: Number(row.size) }
    const cipher = openFileCipher({ header, epochKey, expected })
    epochKey.fill(0)
    return await describe(cipher, root, get)
  }
}

async function describe(cipher: FileCipher, root: FileNode, get: GetBlock): Promise<OpenFile> {
  const { geometry } = cipher
  const { offset, sizeBytes: length } = geometry.place(0)
  const first = cipher.open(0, await collect(readFile(root, get, { offset, length })))
  const dataBytes = parseFileLength(first, geometry)
  const { name, type, sizeBytes: describedBytes } = parseDescription(first.subarray(lengthSizeBytes))
  const start = lengthSizeBytes + describedBytes
  return {
    ...{ name, type },
    sizeBytes: dataBytes - describedBytes,
    read: (from, count) => readContent({ cipher, root, get }, start + from, start + from + count),
    close: () => cipher.close(),
  }
}

/** Plaintext bytes [from, to): the chunks that hold them are read in one go and opened as they come. */
async function* readContent(
  file: { cipher: FileCipher; root: FileNode; get: GetBlock },
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  const { cipher, root, get } = file
  if (from >= to) return
  const { geometry } = cipher
  const chunkBytes = geometry.count > 1 ? geometry.bytesOf(0) : geometry.plaintextBytes
  let index = Math.floor(from / chunkBytes)
  const last = Math.min(geometry.count - 1, Math.floor((to - 1) / chunkBytes))
  const [begin, end] = [geometry.place(index), geometry.place(last)]
  let waiting: Buffer = Buffer.alloc(0)
  const stored = { offset: begin.offset, length: end.offset + end.sizeBytes - begin.offset }
  for await (const piece of readFile(root, get, stored)) {
    waiting = Buffer.concat([waiting, piece])
    for (let size = geometry.place(index).sizeBytes; index <= last && waiting.length >= size; ) {
      const plaintext = cipher.open(index, waiting.subarray(0, size))
      waiting = waiting.subarray(size)
      const start = index * chunkBytes
      yield plaintext.subarray(Math.max(0, from - start), Math.min(plaintext.length, to - start))
      turnOver(plaintext.length)
      index++
      if (index <= last) size = geometry.place(index).sizeBytes
    }
  }
}
