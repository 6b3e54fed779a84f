import type { ChainName } from '@healthblock/chain/chains'
import { chainOrigin } from '@healthblock/chain/checkpoint'
import { createWitnessClient } from '@healthblock/runtime/witness-client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TestWitness } from '../../../test/support/witness.ts'
import type { Lies } from '../../runtime/src/testkit.ts'
import type { AuditWitness } from './audit.ts'
import { followAudit } from './audit.ts'
import { places, Sample } from './sample.test-support.ts'

let sample: Sample
let witness: TestWitness

beforeEach(async () => {
  sample = new Sample()
  witness = await TestWitness.start('witness.example/audit')
})
afterEach(async () => {
  await sample.close()
  await witness.close()
})

function known(one = witness): AuditWitness {
  return createWitnessClient(one)
}

const run = async (lies: readonly Lies[], witnesses: readonly AuditWitness[] = [known()]) =>
  sample.run(await sample.cluster(...lies), { witnesses })

/** The witness has seen the log as it is now. */
function shown(chain: ChainName = 'userchain', root?: Uint8Array): void {
  const { size, root: own } = sample.history.ledger.head(chain)
  const { ledgerId } = sample.consortium.genesis
  witness.held.set(chainOrigin({ ledgerId, chain }), { size, root: root ?? own })
}

describe('a witness that the auditor knows', () => {
  it('is asked with the proof from what it holds, and agrees', async () => {
    sample.fill(300)
    shown()
    shown('docchain')
    sample.fill(700)
    const { findings, notChecked } = await run([{}, {}, {}, {}])
    expect(findings).toEqual([])
    expect(notChecked.filter((words) => words.includes('witness'))).toEqual([
      'userchain at witnesses that were not named; 1 of 1 that were named hold the audited head',
      'docchain at witnesses that were not named; 1 of 1 that were named hold the audited head',
    ])
    const origin = chainOrigin({ ledgerId: sample.consortium.genesis.ledgerId, chain: 'userchain' })
    expect(witness.held.get(origin)?.size).toBe(sample.history.ledger.head('userchain').size)
  })

  it('agrees at once with what it holds already', async () => {
    sample.fill(300)
    shown()
    expect((await run([{}])).findings).toEqual([])
    // One of each chain: of Docchain it has seen nothing.
    expect(witness.requests).toBe(2)
  })

  it('witness.ahead: it holds more than any node shows', async () => {
    sample.fill(300)
    const { size } = sample.history.ledger.head('userchain')
    const { ledgerId } = sample.consortium.genesis
    const held = { size: size + 7, root: new Uint8Array(32).fill(7) }
    witness.held.set(chainOrigin({ ledgerId, chain: 'userchain' }), held)
    const { findings, ok } = await run([{}, {}])
    expect(ok).toBe(false)
    expect(places(findings)).toEqual([`witness.ahead userchain null ${size} witness.example/audit`])
    expect(findings[0]?.message).toContain(`${size + 7} entries`)
  })

  it.each([
    ['another root of the audited size', () => shown('userchain', new Uint8Array(32).fill(1))],
    [
      'another root of an earlier head',
      () => {
        shown('userchain', new Uint8Array(32).fill(1))
        sample.fill(500)
      },
    ],
    [
      'a size at which no block ends',
      () => {
        const { ledgerId } = sample.consortium.genesis
        witness.held.set(chainOrigin({ ledgerId, chain: 'userchain' }), { size: 1, root: new Uint8Array(32) })
      },
    ],
  ])('witness.fork: it holds %s', async (_, hold) => {
    sample.fill(300)
    hold()
    expect(places((await run([{}, {}])).findings)).toEqual(['witness.fork userchain null null witness.example/audit'])
  })

  it('witness.fork: a node shows its line over a head that the log does not have', async () => {
    sample.fill(300)
    const { history } = sample
    const { ledgerId } = sample.consortium.genesis
    const origin = chainOrigin({ ledgerId, chain: 'userchain' })
    // Below a quorum, so that no cosigned head is forked: the witness alone signed it.
    const head = { origin, size: history.ledger.head('userchain').size, root: new Uint8Array(32).fill(9) }
    const note = `${origin}\n${head.size}\n${Buffer.from(head.root).toString('base64')}\n\n${witness.line(head)}`
    const liar: Lies = { checkpoint: (chain) => (chain === 'userchain' ? note : history.checkpoint(chain, 1)) }
    const { findings } = await run([{}, liar])
    expect(findings.map(({ code }) => code)).toContain('witness.fork')
    expect(findings.find(({ code }) => code === 'witness.fork')?.message).toContain('node-1 shows')
  })

  it('witness.invalid: it answers with the line of another key', async () => {
    sample.fill(300)
    shown()
    const other = await TestWitness.start('witness.example/other')
    try {
      witness.misbehaviour = ({ checkpoint }, response) => Boolean(response.writeHead(200).end(other.line(checkpoint)))
      const { findings } = await run([{}])
      expect(places(findings)).toEqual([
        'witness.invalid docchain null null witness.example/audit',
        'witness.invalid userchain null null witness.example/audit',
      ])
    } finally {
      await other.close()
    }
  })

  it('is no fault of the ledger if it is away, knows nothing, or lacks the key: the report says so', async () => {
    sample.fill(300)
    const silent = await TestWitness.start('witness.example/away')
    const away = known(silent)
    await silent.close()
    witness.logKeys = []
    const { findings, notChecked } = await run([{}, {}], [known(), away])
    expect(findings).toEqual([])
    expect(notChecked.filter((words) => words.startsWith('userchain at w'))).toEqual([
      'userchain at witnesses that were not named; 0 of 2 that were named hold the audited head',
      'userchain at witness.example/audit: it trusts the log key of none of the nodes (403)',
      'userchain at witness.example/away: ECONNREFUSED',
    ])
    witness.logKeys = undefined
    const fresh = await run([{}])
    expect(fresh.findings).toEqual([])
    expect(fresh.notChecked).toContain('userchain at witness.example/audit: it has cosigned nothing yet')
  })

  it('nobody was named: the report says so', async () => {
    sample.fill(20)
    expect((await run([{}], [])).notChecked).toContain('witnesses outside the ledger: none was named')
  })

  it('is asked by an audit that follows only now and then', async () => {
    sample.fill(300)
    shown()
    shown('docchain')
    const stop = new AbortController()
    let [looks, nowMs] = [0, Date.now()]
    const request = sample.request(await sample.cluster({}), { witnesses: [known()], now: () => nowMs })
    const requests: number[] = []
    await followAudit(request, {
      signal: stop.signal,
      onLook: () => {
        requests.push(witness.requests)
        // The third look is half a minute after the first.
        if (looks++ === 1) nowMs += 30_000
        if (looks === 3) stop.abort()
      },
    })
    expect(requests).toEqual([2, 2, 4])
  })

  it.each([
    ['', 30_000],
    [', though the clock was set back since the last question', -3_600_000],
  ])('is asked by an audit that follows from when it is named%s', async (_, passedMs) => {
    sample.fill(20)
    shown()
    const stop = new AbortController()
    const said: (string | undefined)[] = []
    let nowMs = Date.now()
    let witnesses: AuditWitness[] = []
    const request = sample.request(await sample.cluster({}), { witnesses: async () => witnesses, now: () => nowMs })
    await followAudit(request, {
      signal: stop.signal,
      onLook: ({ notChecked }) => {
        said.push(notChecked.find((words) => words.includes('witnesses')))
        witnesses = [known()]
        nowMs += passedMs
        if (said.length === 2) stop.abort()
      },
    })
    expect(said).toEqual([
      'witnesses outside the ledger: none was named',
      'userchain at witnesses that were not named; 1 of 1 that were named hold the audited head',
    ])
  })

  const quiet: [string, number[], number[]][] = [
    ['cannot be reached', [], [503]],
    ['is named no longer', [1], []],
  ]
  it.each(quiet)(
    'what it said stays a finding while it %s, and until it says otherwise',
    async (_, unnamedLooks, statuses) => {
      sample.fill(300)
      const origin = chainOrigin({ ledgerId: sample.consortium.genesis.ledgerId, chain: 'userchain' })
      const { size } = sample.history.ledger.head('userchain')
      witness.held.set(origin, { size: size + 1000, root: new Uint8Array(32) })
      const stop = new AbortController()
      const told: string[] = []
      const listed: number[] = []
      let nowMs = Date.now()
      const isAhead = ({ code }: { code: string }): boolean => code === 'witness.ahead'
      const options = {
        witnesses: async () => (unnamedLooks.includes(listed.length) ? [] : [known()]),
        now: () => nowMs,
        onFinding: (finding: { code: string }) => void (isAhead(finding) && told.push(finding.code)),
      }
      await followAudit(sample.request(await sample.cluster({}), options), {
        signal: stop.signal,
        onLook: ({ findings }) => {
          listed.push(findings.filter(isAhead).length)
          nowMs += 40_000
          const [status] = statuses
          witness.misbehaviour =
            listed.length === 1 && status !== undefined
              ? (_request, response) => Boolean(response.writeHead(status).end())
              : undefined
          if (listed.length === 2) witness.held.clear()
          if (listed.length === 3) stop.abort()
        },
      })
      expect(listed).toEqual([1, 1, 0])
      expect(told).toEqual(['witness.ahead'])
    },
  )

  const lasting: [string, (origin: string, size: number) => void][] = [
    ['ahead', (origin, size) => void witness.held.set(origin, { size: size + 1000, root: new Uint8Array(32) })],
    [
      'invalid',
      () => {
        witness.misbehaviour = (_, response) => Boolean(response.writeHead(409).end('many\n'))
      },
    ],
  ]
  it.each(lasting)(
    'witness.%s: an audit that follows tells it once while it lasts, and lists it in every look',
    async (code, lie) => {
      sample.fill(300)
      const { ledgerId } = sample.consortium.genesis
      const origin = chainOrigin({ ledgerId, chain: 'userchain' })
      lie(origin, sample.history.ledger.head('userchain').size)
      const stop = new AbortController()
      const told: string[] = []
      const listed: number[] = []
      let nowMs = Date.now()
      const options = { witnesses: [known()], now: () => nowMs }
      const onFinding = (finding: { code: string; chain: string | null }) =>
        told.push(`${finding.code} ${finding.chain}`)
      await followAudit(sample.request(await sample.cluster({}), { ...options, onFinding }), {
        signal: stop.signal,
        onLook: ({ findings }) => {
          listed.push(findings.filter((finding) => finding.chain === 'userchain').length)
          // It is asked in every other look, and the log grows meanwhile.
          nowMs += 20_000
          sample.history.block('userchain', [sample.history.algorithm()])
          if (listed.length === 5) {
            witness.held.clear()
            witness.misbehaviour = undefined
          }
          if (listed.length === 7) stop.abort()
        },
      })
      expect(told.filter((one) => one.endsWith('userchain'))).toEqual([`witness.${code} userchain`])
      expect(listed).toEqual([1, 1, 1, 1, 1, 1, 0])
    },
  )
})
