/** What goes wrong on the page itself; the message is in the reader's language. What a node said is an `ApiError`. */
export class SaidError extends Error {
  override readonly name = 'SaidError'
}
