/** Sessions of a portal, whoever keeps them. */
import type { Act } from './second-factor.ts'

/** How long a session lives without a person's act if nothing else is configured, and at most. */
export const portalSessionLimits = { idleMs: 15 * 60_000, longestMs: 12 * 3_600_000 } as const

/** A session that is open. */
export interface OpenPortalSession {
  readonly id: string
  /** Name of the person, as she typed it. */
  readonly name: string
  readonly role: string
  readonly expiresAtMs: number
  /** Aborted when the session ends: streams to it stop. */
  readonly end: AbortSignal
}

/** Somebody at the door. */
export interface LoginRequest {
  readonly name: string
  readonly passphrase: string
  /** The login itself, with the second factor if it was given. */
  readonly act: Act
  /** Where from: guesses are counted for it. */
  readonly source: string
}

/** Who keeps the sessions. */
export interface PortalSessions {
  open(login: LoginRequest): Promise<OpenPortalSession>
  find(id: string, isUse: boolean): OpenPortalSession | undefined
  close(id: string): void
}
