/** Turns the bytes of signal files into integers. Every layout is a pure function of a byte range; lengths are checked before. */
import { DiagnosisError } from '../errors.ts'
import { type SignalFormat, samplesMax, type WfdbHeader, type WfdbSignal } from './header.ts'

/** What stands for a sample that the recorder marked as missing. No layout has it as a value but 32, which marks with it. */
export const sampleMissing = -(2 ** 31)

/** Bits of one sample, averaged over a packed group. */
const groupOf: Record<SignalFormat, { samples: number; bytes: number }> = {
  8: { samples: 1, bytes: 1 },
  16: { samples: 1, bytes: 2 },
  24: { samples: 1, bytes: 3 },
  32: { samples: 1, bytes: 4 },
  61: { samples: 1, bytes: 2 },
  80: { samples: 1, bytes: 1 },
  160: { samples: 1, bytes: 2 },
  212: { samples: 2, bytes: 3 },
  310: { samples: 3, bytes: 4 },
  311: { samples: 3, bytes: 4 },
}

/** Bytes that `count` samples of a packed stream take; the last group may be cut where its remaining bytes hold nothing. */
function bytesNeeded(format: SignalFormat, count: number): number {
  const group = groupOf[format]
  const full = Math.floor(count / group.samples)
  const rest = count % group.samples
  if (rest === 0) return full * group.bytes
  // 212: one sample uses two bytes; 310: both halves carry bits of all three; 311: one sample two bytes, two samples three.
  const tail = format === 310 ? (rest === 1 ? 2 : 4) : rest + 1
  return full * group.bytes + tail
}

function countHeld(format: SignalFormat, size: number): number {
  const group = groupOf[format]
  let count = Math.floor(size / group.bytes) * group.samples
  while (bytesNeeded(format, count + 1) <= size) count++
  return count
}

/** Reads the sample at stream position `i`; the caller has checked that its bytes exist. */
type ReadAt = (b: Uint8Array, offset: number, i: number) => number

const at = (b: Uint8Array, i: number) => b[i] as number
const signed = (value: number, bits: number) => (value << (32 - bits)) >> (32 - bits)
const marked = (value: number, mark: number) => (value === mark ? sampleMissing : value)

function read310(b: Uint8Array, o: number, i: number): number {
  const group = o + Math.floor(i / 3) * 4
  const low = at(b, group) | (at(b, group + 1) << 8)
  if (i % 3 === 0) return signed(low >> 1, 10)
  const high = at(b, group + 2) | (at(b, group + 3) << 8)
  return i % 3 === 1 ? signed(high >> 1, 10) : signed((low >> 11) | ((high >> 11) << 5), 10)
}

function read311(b: Uint8Array, o: number, i: number): number {
  const group = o + Math.floor(i / 3) * 4
  if (i % 3 === 0) return signed(at(b, group) | (at(b, group + 1) << 8), 10)
  if (i % 3 === 1) return signed((at(b, group + 1) >> 2) | (at(b, group + 2) << 6), 10)
  return signed((at(b, group + 2) >> 4) | (at(b, group + 3) << 4), 10)
}

function read212(b: Uint8Array, o: number, i: number): number {
  const group = o + (i >> 1) * 3
  const value =
    i % 2 === 0 ? at(b, group) | ((at(b, group + 1) & 0x0f) << 8) : at(b, group + 2) | ((at(b, group + 1) & 0xf0) << 4)
  return signed(value, 12)
}

const readers: Record<Exclude<SignalFormat, 8>, ReadAt> = {
  16: (b, o, i) => marked(signed(at(b, o + 2 * i) | (at(b, o + 2 * i + 1) << 8), 16), -32768),
  24: (b, o, i) =>
    marked(signed(at(b, o + 3 * i) | (at(b, o + 3 * i + 1) << 8) | (at(b, o + 3 * i + 2) << 16), 24), -8388608),
  32: (b, o, i) =>
    at(b, o + 4 * i) | (at(b, o + 4 * i + 1) << 8) | (at(b, o + 4 * i + 2) << 16) | (at(b, o + 4 * i + 3) << 24),
  61: (b, o, i) => marked(signed((at(b, o + 2 * i) << 8) | at(b, o + 2 * i + 1), 16), -32768),
  80: (b, o, i) => marked(at(b, o + i) - 128, -128),
  160: (b, o, i) => marked((at(b, o + 2 * i) | (at(b, o + 2 * i + 1) << 8)) - 32768, -32768),
  212: (b, o, i) => marked(read212(b, o, i), -2048),
  310: (b, o, i) => marked(read310(b, o, i), -512),
  311: (b, o, i) => marked(read311(b, o, i), -512),
}

function wrong(field: string, index: number, reason: string): DiagnosisError {
  return new DiagnosisError(`signal ${index}: ${field} ${reason}`, {
    code: 'ERR_WFDB_SIGNAL_INVALID',
    field,
    at: index,
  })
}

/** Where the samples of one signal lie in the frames of the signals that share its file. */
function layoutOf(header: WfdbHeader, index: number): { signal: WfdbSignal; place: number; width: number } {
  const signal = header.signals[index]
  if (signal === undefined) throw wrong('signal', index, `is not one of ${header.signals.length}`)
  const sharing = header.signals.filter((s) => s.file === signal.file)
  if (sharing.some((s) => s.format !== signal.format || s.byteOffset !== signal.byteOffset)) {
    throw wrong('format', index, 'differs from that of a signal in the same file')
  }
  const sizeOf = (signals: readonly WfdbSignal[]) =>
    signals.reduce((sum, { samplesPerFrame }) => sum + samplesPerFrame, 0)
  return { signal, place: sizeOf(sharing.slice(0, sharing.indexOf(signal))), width: sizeOf(sharing) }
}

/**
 * Decodes one signal of a record.
 *
 * @param header - from `parseHeader`.
 * @param index - which signal, from 0.
 * @param bytes - the whole content of the file that the signal names.
 * @returns Integers in sample units, `sampleMissing` where the recorder marked a gap; `samplesPerFrame` of each frame.
 * @throws {DiagnosisError} `ERR_WFDB_SIGNAL_INVALID` when there is no such signal, or the file is shorter than the header promises.
 */
export function decodeSignal(header: WfdbHeader, index: number, bytes: Uint8Array): Int32Array<ArrayBuffer> {
  const { signal, place, width } = layoutOf(header, index)
  const { format, byteOffset, samplesPerFrame } = signal
  const size = bytes.length - byteOffset
  if (size < 0) throw wrong('file', index, 'ends before its first sample')
  const held = Math.floor(countHeld(format, size) / width)
  const frames = header.sampleCount ?? held
  if (frames > held) throw wrong('file', index, `is truncated: ${held} of ${frames} samples`)
  const count = frames * samplesPerFrame
  if (count > samplesMax) throw wrong('file', index, `has more than ${samplesMax} samples`)
  const samples = new Int32Array(count)
  const placeOf = (k: number) => Math.floor(k / samplesPerFrame) * width + place + (k % samplesPerFrame)
  if (format === 8) {
    let value = signal.initialValue
    for (let k = 0; k < count; k++) {
      value += signed(at(bytes, byteOffset + placeOf(k)), 8)
      samples[k] = value
    }
    return samples
  }
  const read = readers[format]
  for (let k = 0; k < count; k++) samples[k] = read(bytes, byteOffset, placeOf(k))
  return samples
}
