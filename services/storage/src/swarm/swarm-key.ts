/**
 * The pre-shared key of a private swarm: who does not have it sees random bytes and reaches no protocol behind.
 * Wire format of libp2p's private networks (github.com/libp2p/specs, pnet/Private-Networks-PSK-V1.md): each side sends
 * a 24-byte nonce, then everything is XORed with XSalsa20 under the key and the sender's nonce. It hides and gates; the
 * authentication is Noise's, inside.
 */
import { randomBytes } from 'node:crypto'
import type { AbortOptions, ConnectionProtector, MessageStream } from '@libp2p/interface'
import { AbstractMessageStream, byteStream, type SendResult } from '@libp2p/utils'
import { xsalsa20 } from '@noble/ciphers/salsa.js'
import type { Uint8ArrayList } from 'uint8arraylist'
import { StorageError } from '../errors.ts'

const nonceBytes = 24
const blockBytes = 64
const keyFilePattern = /^\/key\/swarm\/psk\/1\.0\.0\/\r?\n\/base16\/\r?\n([0-9a-fA-F]{64})\s*$/

/**
 * Reads the text of a `swarm.key` file, as Kubo has it.
 *
 * @returns The 32-byte key.
 * @throws {StorageError} `ERR_SWARM_KEY_INVALID` for any other form.
 */
export function parseSwarmKey(text: string): Uint8Array {
  const digits = keyFilePattern.exec(text)?.[1]
  if (!digits) throw new StorageError('not a swarm key file', { code: 'ERR_SWARM_KEY_INVALID' })
  return new Uint8Array(Buffer.from(digits, 'hex'))
}

/** XORs a stream of bytes, however it is cut, with XSalsa20. One direction carries at most 256 GiB, then it ends. */
class Keystream {
  readonly #key: Uint8Array
  readonly #nonce: Uint8Array
  /** Bytes so far. */
  #position = 0

  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.#key = key
    this.#nonce = nonce
  }

  xor(bytes: Uint8Array): Uint8Array {
    const counter = Math.floor(this.#position / blockBytes)
    const lead = this.#position % blockBytes
    this.#position += bytes.length
    // The cipher counts in blocks: what was used of the present block is skipped.
    const padded = new Uint8Array(lead + bytes.length)
    padded.set(bytes, lead)
    return xsalsa20(this.#key, this.#nonce, padded, undefined, counter).subarray(lead)
  }
}

/** A connection's bytes under the pre-shared key. */
class ProtectedStream extends AbstractMessageStream {
  readonly #stream: MessageStream
  readonly #outgoing: Keystream

  constructor(stream: MessageStream, keystreams: { outgoing: Keystream; incoming: Keystream }) {
    super({
      log: stream.log,
      inactivityTimeout: stream.inactivityTimeout,
      maxReadBufferLength: stream.maxReadBufferLength,
      direction: stream.direction,
    } as ConstructorParameters<typeof AbstractMessageStream>[0])
    this.#stream = stream
    this.#outgoing = keystreams.outgoing
    stream.addEventListener('message', (event) => {
      try {
        this.onData(keystreams.incoming.xor(event.data.subarray()))
      } catch (error) {
        this.abort(error as Error)
      }
    })
    stream.addEventListener('close', (event) => {
      if (!event.error) this.onTransportClosed()
      else if (event.local === true) this.abort(event.error)
      else this.onRemoteReset()
    })
    stream.addEventListener('drain', () => this.safeDispatchEvent('drain'))
    stream.addEventListener('remoteCloseWrite', () => this.onRemoteCloseWrite())
  }

  async close(options?: AbortOptions): Promise<void> {
    await this.#stream.close(options)
  }

  sendData(data: Uint8ArrayList): SendResult {
    return { sentBytes: data.byteLength, canSendMore: this.#stream.send(this.#outgoing.xor(data.subarray())) }
  }

  sendReset(error: Error): void {
    this.#stream.abort(error)
  }

  sendPause(): void {
    this.#stream.pause()
  }

  sendResume(): void {
    this.#stream.resume()
  }
}

/**
 * Makes libp2p's connection protector for a key.
 *
 * @param key - 32 bytes.
 */
export function createProtector(key: Uint8Array): ConnectionProtector {
  return {
    async protect(connection: MessageStream, options?: AbortOptions): Promise<MessageStream> {
      const localNonce = new Uint8Array(randomBytes(nonceBytes))
      const bytes = byteStream(connection)
      await bytes.write(localNonce, options)
      const remoteNonce = (await bytes.read({ ...options, bytes: nonceBytes })).subarray()
      const keystreams = { outgoing: new Keystream(key, localNonce), incoming: new Keystream(key, remoteNonce.slice()) }
      return new ProtectedStream(bytes.unwrap(), keystreams)
    },
  }
}
