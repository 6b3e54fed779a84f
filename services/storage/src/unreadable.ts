/** Requests that Node's HTTP parser gives up: they reach no route, and are answered in the same form as what a route refuses. */
import type { Socket } from 'node:net'
import { statusTexts } from './http.ts'

/** Status, reason and words by the parser's code; 400 for any other. */
const answers: Readonly<Record<string, readonly [status: number, reason: string, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'ERR_TIMEOUT', 'the request did not come'],
  HPE_HEADER_OVERFLOW: [431, 'ERR_ARGUMENT_INVALID', 'the headers are too long'],
  HPE_INVALID_EOF_STATE: [400, 'ERR_MULTIPART_INVALID', 'the body ended early'],
}

/** Answers what cannot be read, and closes the connection. */
export function answerUnreadable(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const unreadable = [400, 'ERR_ARGUMENT_INVALID', 'the request cannot be read'] as const
  const [status, Reason, Message] = answers[error.code ?? ''] ?? unreadable
  const body = JSON.stringify({ Message, Code: 0, Type: 'error', Reason })
  const fields = ['Content-Type: application/json', `Content-Length: ${body.length}`, 'Connection: close']
  if (socket.writable) {
    socket.write([`HTTP/1.1 ${status} ${statusTexts[status]}`, ...fields, '', body].join('\r\n'))
  }
  socket.destroySoon()
}
