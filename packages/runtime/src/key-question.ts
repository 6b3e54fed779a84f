/** What a page needs to ask a key. Ids and the challenge are base64url. */
export interface KeyQuestion {
  readonly challenge: string
  readonly rpId: string
  readonly keys: readonly string[]
}
