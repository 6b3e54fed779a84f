/** A block, and an entry of it: decoded from the ledger's bytes, with its proof. */
import { toHex } from '@healthblock/encoding/bytes'
import type { JSX } from 'preact'
import { callBytes } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatInstant, formatMoment } from '../frame/time.ts'
import type { CheckedReceipt } from '../proof/check.ts'
import { ProofLines, ProofResult, useProof } from '../proof/proof.tsx'
import { AccountLink } from './account-link.tsx'
import { EntryRecords } from './entry-records.tsx'
import type { PlacedEntry, ReadBlock } from './ledger-read.ts'
import type { BlockSummary, ChainName } from './model.ts'
import { type FieldWords, typeWords, wordsOfBody } from './transaction-words.ts'
import { useAsked } from './use-asked.ts'
import { chainWords, count } from './words.ts'

/** Bytes that may be long: a window over them that keys reach. */
function RawBytes(props: { bytes: Uint8Array }): JSX.Element {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with the keyboard
    <section class="raw" tabIndex={0} aria-label={t('auditor.entry.raw')}>
      <code>{toHex(props.bytes)}</code>
    </section>
  )
}

function Fields(props: { fields: readonly FieldWords[] }): JSX.Element {
  return (
    <dl class="facts">
      {props.fields.map(({ label, text, accounts }, at) => (
        <div key={`${label} ${at}`}>
          <dt>{label}</dt>
          <dd>{text ?? accounts?.map((account) => <AccountLink account={account} key={account} />)}</dd>
        </div>
      ))}
    </dl>
  )
}

async function load(chain: ChainName, index: number): Promise<ReadBlock> {
  const { readBlock } = await import('./ledger-read.ts')
  return readBlock(chain, index)
}

function Signers(props: { entry: PlacedEntry }): JSX.Element {
  const names = ['root', 'op', 'node'] as const
  return (
    <dl class="facts">
      <div>
        <dt>{t('auditor.entry.signers')}</dt>
        <dd>
          {props.entry.transaction.signatures.map(({ account, key }) => (
            <span class="signer" key={`${toHex(account)} ${key}`}>
              <AccountLink account={toHex(account)} /> {t(`auditor.key.${names[key] ?? 'op'}`)}
            </span>
          ))}
        </dd>
      </div>
    </dl>
  )
}

/** A receipt that holds, with indices counted as the explorer counts them: from 0. */
function HeldProof(props: { receipt: CheckedReceipt }): JSX.Element {
  const { facts, steps } = props.receipt
  const { index, size, signedBy, nodes, signedAt } = facts.transaction
  const lines = [
    t('auditor.proof.at', { index: count(index), size: count(size) }),
    t('proof.signed', { signedBy, nodes, at: formatMoment(signedAt) }),
  ]
  return <ProofLines lines={lines} steps={steps} />
}

function EntryProof(props: { chain: ChainName; id: string }): JSX.Element {
  const { chain, id } = props
  const proof = useProof(`${chain} ${id}`, {
    load: () => callBytes(`/v1/${chain}/transactions/${id}/receipt`),
    genesis: async () => (await import('./ledger-read.ts')).genesisBytes(),
  })
  return (
    <section class="card" aria-label={t('auditor.entry.proof')}>
      <h2>{t('auditor.entry.proof')}</h2>
      {proof.state === 'holds' ? <HeldProof receipt={proof.receipt} /> : <ProofResult proof={proof} />}
    </section>
  )
}

function Entry(props: { chain: ChainName; block: ReadBlock; entry: PlacedEntry }): JSX.Element {
  const { chain, block, entry } = props
  const { transaction, id, index } = entry
  return (
    <>
      <div class="verdict">
        <h1>{typeWords(transaction.body.t)}</h1>
        <p>
          {t('auditor.entry.of', { index: count(index), chain: chainWords(chain) })} ·{' '}
          <a href={hrefOf(['explorer', chain, 'block', String(block.height)])}>
            {t('auditor.block', { height: count(block.height) })}
          </a>{' '}
          · {formatInstant(block.seal.ms)}
        </p>
      </div>
      <div class="beside">
        <section class="card">
          <Fields fields={wordsOfBody(transaction.body)} />
          <Signers entry={entry} />
          <p class="soft">{t('auditor.decoded')}</p>
          <details>
            <summary>{t('details')}</summary>
            <dl class="facts">
              <div>
                <dt>{t('auditor.entry.id')}</dt>
                <dd>
                  <code>{id}</code>
                </dd>
              </div>
              <div>
                <dt>{t('auditor.entry.raw')}</dt>
                <dd>
                  <RawBytes bytes={transaction.leaf} />
                </dd>
              </div>
            </dl>
          </details>
        </section>
        <EntryProof chain={chain} id={id} />
      </div>
      <EntryRecords entry={entry} key={id} />
    </>
  )
}

/** An entry by its index: a transaction, or the seal of a block. */
export function EntryPage(props: { chain: ChainName; index: number }): JSX.Element {
  const { chain, index } = props
  const block = useAsked(`${chain} ${index}`, () => load(chain, index))
  return (
    <Shown resource={block}>
      {(value) => {
        const entry = value.entries[index - value.from]
        if (entry !== undefined) return <Entry chain={chain} block={value} entry={entry} />
        return (
          <BlockBody chain={chain} block={value} title={t('auditor.entry.seal', { height: count(value.height) })} />
        )
      }}
    </Shown>
  )
}

function BlockBody(props: { chain: ChainName; block: ReadBlock; title: string }): JSX.Element {
  const { chain, block, title } = props
  const { seal, entries, height, from } = block
  const anchor = seal.anchor?.[0]
  const fields: FieldWords[] = [
    { label: t('auditor.block.sealed'), text: formatInstant(seal.ms) },
    {
      label: t('auditor.block.entries'),
      text: t('auditor.block.range', { from: count(from), to: count(from + entries.length) }),
    },
    { label: t('auditor.block.rules'), text: t('auditor.block.rules.version', { version: seal.rules }) },
    ...(anchor === undefined ? [] : [{ label: t('auditor.block.anchor'), text: count(anchor[0] - 1) }]),
  ]
  return (
    <>
      <div class="verdict">
        <h1>{title}</h1>
        <p class="row">
          {height > 0 ? (
            <a href={hrefOf(['explorer', chain, 'block', String(height - 1)])}>← {t('auditor.block.earlier')}</a>
          ) : (
            <span />
          )}
          <a href={hrefOf(['explorer', chain, 'block', String(height + 1)])}>{t('auditor.block.later')} →</a>
        </p>
      </div>
      <section class="card">
        <Fields fields={fields} />
        <details>
          <summary>{t('details')}</summary>
          <dl class="facts">
            <div>
              <dt>{t('auditor.stateroot')}</dt>
              <dd>
                <code>{toHex(seal.st)}</code>
              </dd>
            </div>
            <div>
              <dt>{t('auditor.entry.raw')}</dt>
              <dd>
                <RawBytes bytes={block.sealLeaf} />
              </dd>
            </div>
          </dl>
        </details>
      </section>
      <section class="card" aria-label={t('auditor.block.transactions')}>
        <h2>
          {t('auditor.block.transactions')} <span class="figure">{count(entries.length)}</span>
        </h2>
        {entries.length === 0 && <p class="soft">{t('auditor.block.idle')}</p>}
        <ul class="plain entries">
          {entries.map(({ index, transaction }) => (
            <li key={index}>
              <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>
                {t('auditor.place.entry', { index: count(index) })}
              </a>
              <span>{typeWords(transaction.body.t)}</span>
            </li>
          ))}
        </ul>
      </section>
    </>
  )
}

/** A block by its height. */
export function BlockPage(props: { chain: ChainName; height: number }): JSX.Element {
  const { chain, height } = props
  const summary = useResource<BlockSummary>(`/v1/${chain}/summaries/${height}`)
  return <Shown resource={summary}>{(value) => <BlockAt chain={chain} summary={value} />}</Shown>
}

function BlockAt(props: { chain: ChainName; summary: BlockSummary }): JSX.Element {
  const { chain, summary } = props
  const block = useAsked(`${chain} ${summary.from}`, () => load(chain, summary.from))
  return (
    <Shown resource={block}>
      {(value) => (
        <BlockBody
          chain={chain}
          block={value}
          title={t('auditor.block.of', { height: count(value.height), chain: chainWords(chain) })}
        />
      )}
    </Shown>
  )
}
