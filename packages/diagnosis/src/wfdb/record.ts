export { type Annotation, encodeAnnotations, isBeat, parseAnnotations } from './annotation.ts'
export { parseHeader, type SignalFormat, type WfdbHeader, type WfdbSignal } from './header.ts'
export { decodeSignal, sampleMissing } from './signal.ts'
