/**
 * Text that somebody else chose, as it may be printed: what moves a terminal's cursor, breaks the line, cannot be seen or turns the direction
 * of reading becomes U+FFFD. A node that is refused or found out must not be able to write the report about itself.
 */
export function plainText(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, '\u{fffd}')
}
