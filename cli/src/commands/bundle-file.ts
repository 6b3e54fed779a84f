/** A FHIR Bundle that a node writes as it goes, into a file that is there whole or not at all. */
import { createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { fileError } from '@healthblock/runtime/files'
import type { NodeAccess } from '../cluster/client.ts'
import { CommandError } from '../io.ts'

/** What was written. */
export interface SavedBundle {
  readonly file: string
  readonly sizeBytes: number
  readonly resources: number
}

/** What ends a Bundle that did not break off. */
const endings = [']}', '"}']
const entryMark = '{"fullUrl":'

/**
 * Fetches a Bundle, of any size, and puts it at `out`.
 *
 * @throws {CommandError} in the node's own words, or if it broke off: nothing is left behind, and what was there stays.
 */
export async function saveBundle(access: NodeAccess, path: string, out: string): Promise<SavedBundle> {
  const file = resolve(out)
  const response = await fetch(new URL(path, access.url), { headers: { authorization: `Bearer ${access.bearer}` } })
  if (!response.ok || response.body === null) {
    const problem = (await response.json().catch(() => undefined)) as { detail?: string; title?: string } | undefined
    throw new CommandError(`${access.name}: ${problem?.detail ?? problem?.title ?? `answered ${response.status}`}`)
  }
  const part = `${file}.part`
  let sizeBytes = 0
  let resources = 0
  let tail = ''
  async function* counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      sizeBytes += piece.length
      // A mark may lie across two pieces; none can lie whole within what is kept of the one before.
      const text = tail + Buffer.from(piece).toString('latin1')
      resources += text.split(entryMark).length - 1
      tail = text.slice(-(entryMark.length - 1))
      yield piece
    }
  }
  try {
    const body = Readable.fromWeb(response.body as ReadableStream)
    await pipeline(body, counted, createWriteStream(part, { mode: 0o600 }))
    if (!endings.some((ending) => tail.endsWith(ending))) throw new Error('the answer broke off')
    const handle = await open(part, 'r')
    await handle.sync()
    await handle.close()
    await rename(part, file)
  } catch (cause) {
    await rm(part, { force: true })
    const { syscall, code } = cause as NodeJS.ErrnoException
    // What a new file misses is its folder.
    const missed = code === 'ENOENT' ? dirname(file) : file
    const reason = syscall === undefined ? (cause as Error).message : fileError(missed, cause).message
    throw new CommandError(`${file} was not written: ${reason}`, undefined, { cause })
  }
  return { file, sizeBytes, resources }
}
