/** Why bytes or text were not accepted. `offset` is the position in the input at which reading stopped. */
export type EncodingErrorDetail =
  | { code: 'ERR_CBOR_TRUNCATED'; offset: number }
  | { code: 'ERR_CBOR_NOT_CANONICAL'; offset: number }
  | { code: 'ERR_CBOR_FORBIDDEN'; offset: number }
  | { code: 'ERR_CBOR_LIMIT'; offset: number }
  | { code: 'ERR_CBOR_TRAILING'; offset: number }
  | { code: 'ERR_TEXT_INVALID'; offset: number }

/** The one error that this package throws for untrusted input. */
export class EncodingError extends Error {
  override readonly name = 'EncodingError'
  readonly detail: EncodingErrorDetail
  constructor(message: string, detail: EncodingErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}
