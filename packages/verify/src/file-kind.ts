/** True if the file says of itself that it is a dispute bundle: its keys are in order, so it begins with `disclosed`. */
export function isDispute(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes.subarray(0, 12)) === '{"disclosed"'
}
