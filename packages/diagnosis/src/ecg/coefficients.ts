/** The sections of `filter.ts`: second-order Butterworth at 250 Hz, printed by `scripts/coefficients.ts` (a test compares). */

/** b0, b1, b2, a1, a2 with a0 = 1. */
export type Section = readonly [number, number, number, number, number]

/** High-pass at 10 Hz. */
export const highPass10: Section = [
  0.8370891905663448, -1.6741783811326896, 0.8370891905663448, -1.6474599810769766, 0.7008967811884026,
]
/** Low-pass at 25 Hz. */
export const lowPass25: Section = [
  0.0674552738890719, 0.1349105477781438, 0.0674552738890719, -1.142980502539901, 0.4128015980961886,
]
/** High-pass at 0.7 Hz: takes the wander of the baseline away, keeps the shape of a beat. */
export const highPass1: Section = [
  0.9876369826781605, -1.975273965356321, 0.9876369826781605, -1.975121115318237, 0.9754268153944045,
]
/** Low-pass at 40 Hz. */
export const lowPass40: Section = [
  0.14532388387704245, 0.2906477677540849, 0.14532388387704245, -0.6710290907740962, 0.25232462628226593,
]
/** High-pass at 40 Hz: what is left of noise when the beats are taken away. */
export const highPass40: Section = [
  0.48083842926409054, -0.9616768585281811, 0.48083842926409054, -0.6710290907740962, 0.25232462628226593,
]
