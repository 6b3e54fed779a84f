/** Which algorithm judged: name, version, and a hash over every file that its findings depend on. See SPEC.md §7. */
import { compareBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'

/** Name of the algorithm; it names no disease, because it is public. */
export const algorithmName = 'healthblock-monitor'
/** Semantic version: patch = same findings, minor = other findings, major = other formats. */
export const algorithmVersion = '0.20.0'

/** Files that the findings depend on, from the root of the package. */
export const algorithmFiles: readonly string[] = [
  'src/baseline.ts',
  'src/batch.ts',
  'src/diagnose.ts',
  'src/early-warning/mews.ts',
  'src/early-warning/news2.ts',
  'src/early-warning/qsofa.ts',
  'src/early-warning/vitals.ts',
  'src/ecg-stream.ts',
  'src/ecg/analyser.ts',
  'src/ecg/beat-table.ts',
  'src/ecg/beat.ts',
  'src/ecg/coefficients.ts',
  'src/ecg/complex.ts',
  'src/ecg/detector.ts',
  'src/ecg/disorder.ts',
  'src/ecg/filter.ts',
  'src/ecg/flutter-table.ts',
  'src/ecg/flutter.ts',
  'src/ecg/fusion.ts',
  'src/ecg/irregularity.ts',
  'src/ecg/mains.ts',
  'src/ecg/paced.ts',
  'src/ecg/predictability.ts',
  'src/ecg/quality.ts',
  'src/ecg/repetition.ts',
  'src/ecg/resampler.ts',
  'src/ecg/rhythm.ts',
  'src/ecg/shape.ts',
  'src/ecg/spikes.ts',
  'src/ecg/state.ts',
  'src/ecg/trees.ts',
  'src/ecg/ventricular-run.ts',
  'src/ecg/vote.ts',
  'src/fields.ts',
  'src/findings.ts',
  'src/lead-choice.ts',
  'src/limits.ts',
  'src/other-leads.ts',
  'src/parameters.ts',
  'src/vitals-stream.ts',
]

/** SHA-256 as `hashAlgorithm` gives it over `algorithmFiles`, lower-case hexadecimal; a test keeps it true. */
export const algorithmHashHex = '5cee3d2e2e0c83e789baa2ad89b2da6e5b2ca5be15fb889847711a5013d6938c'

/**
 * Hash of an algorithm: SHA-256 of the canonical CBOR [name, version, [[path, SHA-256 of the file], …]], the files in bytewise order of their paths.
 *
 * @param files - paths from the root of the package with `/`, and their bytes.
 * @param sha256 - any implementation; this package brings none.
 */
export function hashAlgorithm(
  files: readonly { path: string; bytes: Uint8Array }[],
  sha256: (bytes: Uint8Array) => Uint8Array,
): Uint8Array {
  const rows = files.map(({ path, bytes }) => [encodeUtf8(path), sha256(bytes)] as [Uint8Array, Uint8Array])
  rows.sort(([a], [b]) => compareBytes(a, b))
  return sha256(encodeCbor([algorithmName, algorithmVersion, rows]))
}
