import { randomBytes } from 'node:crypto'

let instance: string | undefined

/**
 * A name that no other process has: 16 hex digits, drawn once. `/healthz` and `/readyz` say it and `address.json` names it, so that whoever
 * waits for a process can tell its answer from that of a stranger who took the port.
 */
export function processInstance(): string {
  instance ??= randomBytes(8).toString('hex')
  return instance
}
