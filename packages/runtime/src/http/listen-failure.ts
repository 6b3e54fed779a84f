import { RuntimeError } from '../errors.ts'

/** Why a port cannot be listened on, in words: a {@link RuntimeError} of `ERR_PORT_IN_USE` or `ERR_LISTEN_FAILED`; what is no such failure as it is. */
export function listenFailure(error: unknown, at: { host: string; port: number }): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === undefined) return error
  const { host, port } = at
  if (code === 'EADDRINUSE') {
    const message = `port ${port} on ${host} is in use: stop what uses it, choose another port, or 0 for any free one`
    return new RuntimeError(message, { code: 'ERR_PORT_IN_USE', ...at }, { cause: error })
  }
  const message = `cannot listen on ${host}:${port} (${code})`
  return new RuntimeError(message, { code: 'ERR_LISTEN_FAILED', ...at, reason: code }, { cause: error })
}
