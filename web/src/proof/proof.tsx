/** A proof as people read it: each step in words, the raw steps under "Details", and what is wrong if it does not hold. */
import type { JSX } from 'preact'
import { useCallback, useEffect, useState } from 'preact/hooks'
import { messageFor } from '../frame/notice.tsx'
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { type CheckedReceipt, checkReceipt, type PartFacts, type ReceiptFacts } from './check.ts'
import './proof.css'

/** Bytes to check, and what to believe. */
export interface ProofSource {
  /** Asks the node for the receipt's bytes. */
  readonly load: () => Promise<Uint8Array<ArrayBuffer>>
  /** Asks for the genesis file's bytes. */
  readonly genesis?: () => Promise<Uint8Array<ArrayBuffer>>
}

/** Where a check stands. */
export type ProofState =
  | { readonly state: 'checking' }
  | { readonly state: 'holds'; readonly receipt: CheckedReceipt }
  | { readonly state: 'fails'; readonly why: string }

function place({ index, size, signedBy, nodes }: PartFacts): Readonly<Record<string, number>> {
  return { index: index + 1, size, signedBy, nodes }
}

/** The steps of a receipt in the reader's words. */
export function wordsOf({ transaction, seal, anchor }: ReceiptFacts): string[] {
  const chain: TextKey = transaction.chain === 'docchain' ? 'proof.findings' : 'proof.readings'
  const words = [
    t('proof.recorded', { ...place(transaction), ledger: t(chain) }),
    t('proof.signed', { ...place(transaction), at: formatMoment(transaction.signedAt) }),
  ]
  if (seal !== undefined) words.push(t('proof.closed', { block: seal.block, count: seal.closed }))
  if (anchor !== undefined) words.push(t('proof.refused', { ...place(anchor), block: anchor.block }))
  return words
}

/** Loads and checks; again when `key` changes. An undefined `key` checks nothing yet. */
export function useProof(key: string | undefined, source: ProofSource): ProofState & { retry: () => void } {
  const [state, setState] = useState<ProofState>({ state: 'checking' })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    if (key === undefined) return undefined
    let isWanted = true
    setState({ state: 'checking' })
    const check = async (): Promise<CheckedReceipt> => {
      const [bytes, genesis] = await Promise.all([source.load(), source.genesis?.()])
      return checkReceipt(bytes, genesis)
    }
    check().then(
      (receipt) => isWanted && setState({ state: 'holds', receipt }),
      (error: unknown) => isWanted && setState({ state: 'fails', why: messageFor(error) }),
    )
    return () => {
      isWanted = false
    }
  }, [key, turn])
  return { ...state, retry: useCallback(() => setTurn((before) => before + 1), []) }
}

/** What a checked receipt shows, in words, with the verifier's own steps under the details. */
export function ProofLines(props: { lines: readonly string[]; steps: readonly string[] }): JSX.Element {
  return (
    <div class="proof">
      <ul class="proof-steps">
        {props.lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      <p class="soft">{t('proof.where')}</p>
      <details>
        <summary>{t('details')}</summary>
        <ol class="proof-raw">
          {props.steps.map((step) => (
            <li key={step}>{step}</li>
          ))}
        </ol>
      </details>
    </div>
  )
}

/** A checked receipt's steps. */
export function ProofWords(props: { receipt: CheckedReceipt }): JSX.Element {
  const { facts, steps } = props.receipt
  return <ProofLines lines={wordsOf(facts)} steps={steps} />
}

/** What a check says, in a line and the steps. */
export function ProofResult(props: { proof: ProofState & { retry: () => void } }): JSX.Element {
  const { proof } = props
  if (proof.state === 'checking') return <p class="soft">{t('proof.checking')}</p>
  if (proof.state === 'holds') return <ProofWords receipt={proof.receipt} />
  return (
    <div class="notice bad" role="alert">
      <p>{t('proof.fails', { why: proof.why })}</p>
      <button type="button" onClick={proof.retry}>
        {t('retry')}
      </button>
    </div>
  )
}

/** A line that opens to a proof, which is loaded and checked when it is first opened. */
export function Proof(props: { id: string; source: ProofSource; summary?: string }): JSX.Element {
  const [isOpen, setOpen] = useState(false)
  const proof = useProof(isOpen ? props.id : undefined, props.source)
  return (
    <details class="proof-line" onToggle={(event) => event.currentTarget.open && setOpen(true)}>
      <summary>{props.summary ?? t('proof.show')}</summary>
      {isOpen && <ProofResult proof={proof} />}
    </details>
  )
}
