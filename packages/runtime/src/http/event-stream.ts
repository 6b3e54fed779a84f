import type { FastifyReply } from './http-app.ts'

/** One server-sent event. `data` is sent as JSON. */
export interface StreamedEvent {
  readonly type: string
}

const heartbeatMs = 15_000
/** So much may wait for a client that does not read, such as a laptop that sleeps; more ends the stream, and it asks anew when it wakes. */
const unreadBytesMax = 1024 * 1024

/**
 * Answers with a stream of server-sent events that lasts until the client leaves or the service stops; an `alive` event
 * every 15 s tells that it lives (a comment would be hidden from a page).
 *
 * @param options - `listen`: begins to listen and returns the function that ends it; events given to `send` go out.
 */
export function sendEvents<E extends StreamedEvent>(
  reply: FastifyReply,
  options: { listen: (send: (event: E) => void) => () => void; stopping: AbortSignal },
): void {
  const { listen, stopping } = options
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  const write = (text: string): void => {
    if (raw.writableLength > unreadBytesMax) raw.destroy()
    else raw.write(text)
  }
  const stop = listen((event) => write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`))
  // Sends the head at once: whoever waits for it misses nothing that comes after.
  raw.write(': here\n\n')
  const heartbeat = setInterval(() => write('event: alive\ndata: {}\n\n'), heartbeatMs)
  const end = (): void => {
    clearInterval(heartbeat)
    stop()
    raw.end()
  }
  stopping.addEventListener('abort', end, { once: true })
  raw.once('close', () => {
    stopping.removeEventListener('abort', end)
    end()
  })
  // Who left before this began, or came after the stop did, is not told of.
  if (raw.closed || stopping.aborted) end()
}
