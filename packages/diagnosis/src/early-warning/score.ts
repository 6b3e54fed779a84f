/** Early-warning scores on one set of vital signs. A sign that is missing is listed and never counted as normal in silence. See SPEC.md §5. */
export { type MewsPart, scoreMews } from './mews.ts'
export { type News2Part, scoreNews2 } from './news2.ts'
export { type QsofaPart, scoreQsofa } from './qsofa.ts'
export { type Consciousness, parseVitalSet, type Risk, type ScoreResult, type VitalSet } from './vitals.ts'
