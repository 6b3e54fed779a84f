/** A witness over HTTP (C2SP tlog-witness) that keeps the protocol, until a test makes it break it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Checkpoint, type NoteKey, parseCheckpoint, verifyNoteSignature } from '@healthblock/chain/checkpoint'
import { verifyConsistency } from '@healthblock/chain/merkle'
import { parseAddCheckpoint } from '@healthblock/chain/proof'
import { parseWitnessKey } from '@healthblock/chain/witness'
import { sampleWitness } from '../../packages/chain/src/sample.test-support.ts'

/** Does something else than the protocol says; true if it answered, or never will. */
export type Misbehaviour = (request: { body: string; checkpoint: Checkpoint }, response: ServerResponse) => boolean

/** A running witness. */
export class TestWitness {
  readonly vkey: string
  readonly key: NoteKey
  /** What it holds, by origin. */
  readonly held = new Map<string, { size: number; root: Uint8Array }>()
  /** Log keys that it trusts; absent: all, and no line is looked at. */
  logKeys: readonly NoteKey[] | undefined
  misbehaviour: Misbehaviour | undefined
  requests = 0
  readonly #server: Server
  readonly #line: ReturnType<typeof sampleWitness>['line']

  private constructor(name: string) {
    const { vkey, line } = sampleWitness(name)
    this.vkey = vkey
    this.key = parseWitnessKey(vkey)
    this.#line = line
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  static async start(name: string): Promise<TestWitness> {
    const witness = new TestWitness(name)
    await new Promise<void>((resolve) => witness.#server.listen(0, '127.0.0.1', resolve))
    return witness
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Its cosignature over a head, now. */
  line(head: { origin: string; size: number; root: Uint8Array }): string {
    return this.#line(head, Date.now())
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    this.requests++
    const body = Buffer.concat(parts).toString('utf8')
    const { oldSize, proof, checkpoint } = parseAddCheckpoint(body)
    const note = parseCheckpoint(checkpoint)
    if (this.misbehaviour?.({ body, checkpoint: note }, response) === true) return
    const { origin, size, root } = note
    const isTrusted = this.logKeys?.some((key) => isSigned(note, key)) ?? true
    const before = this.held.get(origin) ?? { size: 0, root: new Uint8Array(32) }
    if (!isTrusted) response.writeHead(403).end()
    else if (oldSize > size) response.writeHead(400).end()
    else if (oldSize !== before.size) {
      response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${before.size}\n`)
    } else if (!isConsistent({ oldSize, oldRoot: before.root, size, root, proof })) response.writeHead(422).end()
    else {
      this.held.set(origin, { size, root })
      response.writeHead(200).end(this.line(note))
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function isSigned({ text, signatures }: Checkpoint, key: NoteKey): boolean {
  return signatures.some((signature) => {
    try {
      verifyNoteSignature({ text, key, signature })
      return true
    } catch {
      return false
    }
  })
}

function isConsistent(claim: Parameters<typeof verifyConsistency>[0]): boolean {
  if (claim.oldSize === 0) return claim.proof.length === 0
  try {
    verifyConsistency(claim)
    return true
  } catch {
    return false
  }
}
