import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { PendingBlock } from '@healthblock/chain/block'
import { genesisAccount } from '@healthblock/chain/genesis'
import { leafHash } from '@healthblock/chain/merkle'
import { encodeSealLeaf, parseSealLeaf } from '@healthblock/chain/seal'
import { type GatewayPromise, signStatement } from '@healthblock/chain/statement'
import type { Transaction } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Lies, TestLedger } from '../../runtime/src/testkit.ts'
import { followAudit } from './audit.ts'
import type { AuditNode, AuditNodes } from './nodes.ts'
import { publishedMsMax, silentMsMax } from './promises.ts'
import type { AuditReport, Finding } from './report.ts'
import { anchorDueMsMax, envelopeLateMs } from './rules.ts'
import { altered, places, Sample } from './sample.test-support.ts'

let sample: Sample
let history: TestLedger
beforeEach(() => {
  sample = new Sample()
  history = sample.history
})
afterEach(() => sample.close())

/** What a node told otherwise of its entries, tiles and notes shows up as. */
describe('what a node serves', () => {
  it('entry.malformed: a bundle that cannot be read', async () => {
    sample.fill(20)
    // One leaf more shifts everything behind it: the bundle does not end where it should.
    const liar: Lies = { bundle: (bytes) => bytes.subarray(0, bytes.length - 1) }
    const { findings, chains } = await sample.run(await sample.cluster({}, liar))
    expect(places(findings)).toEqual(['entry.malformed docchain 0 0 node-1', 'entry.malformed userchain 0 0 node-1'])
    expect(chains.userchain.size).toBe(history.ledger.head('userchain').size)
  })

  it('entry.missing, tile.missing: not served', async () => {
    sample.fill(20)
    const nodes = await sample.cluster(
      {},
      { missing: (path) => path.startsWith('userchain/tile/entries/') },
      {
        missing: (path) => path.startsWith('userchain/tile/0/'),
      },
    )
    const { findings } = await sample.run(nodes)
    expect(places(findings)).toEqual(['entry.missing userchain 0 0 node-1', 'tile.missing userchain 0 0 node-2'])
  })

  it('checkpoint.log-line: cosigned, and signed by no log key', async () => {
    history.block('userchain', [history.algorithm()])
    const liar: Lies = {
      checkpoint: (chain) => {
        const lines = history.checkpoint(chain, 1).split('\n')
        return [...lines.slice(0, 4), ...lines.slice(5)].join('\n')
      },
    }
    const { findings } = await sample.run(await sample.cluster({}, liar))
    expect(places(findings)).toEqual([
      'checkpoint.log-line docchain null null node-1',
      'checkpoint.log-line userchain null null node-1',
    ])
  })

  it('node.equivocation, node.conflict: one key, one size, two roots, though no quorum signed the second', async () => {
    history.block('userchain', [history.algorithm()])
    const { size } = history.ledger.head('userchain')
    const liar: Lies = {
      checkpoint: (chain) =>
        history.checkpoint(
          chain,
          1,
          chain === 'userchain' ? { size, root: new Uint8Array(32).fill(9), cosigners: 1 } : {},
        ),
    }
    const { findings } = await sample.run(await sample.cluster({}, liar))
    expect(places(findings)).toEqual([
      'checkpoint.invalid userchain null null node-1',
      `node.conflict userchain 1 ${size - 1} node-0`,
      `node.conflict userchain 1 ${size - 1} node-1`,
      `node.equivocation userchain 1 ${size - 1} node-0`,
    ])
  })

  it('log.unavailable, incident.unavailable', async () => {
    const nodes = await sample.cluster({
      checkpoint: (chain) => (chain === 'docchain' ? 'none' : history.checkpoint(chain)),
    })
    const { findings } = await sample.run(nodes)
    expect(places(findings)).toEqual([
      'checkpoint.invalid docchain null null node-0',
      'log.unavailable docchain null null null',
    ])
    for (const lies of [{ missing: (path: string) => path === 'incidents' }, { incidents: () => 'no JSON' }]) {
      const silent = await sample.cluster(lies)
      expect(places((await sample.run(silent)).findings)).toEqual(['incident.unavailable null null null node-0'])
    }
  })
})

it('a node that is found out does not write the report about itself', async () => {
  const detail = '\u001b[2J\u001b[Hno findings\n\u202eokay \u009b0m \ud800\u2028end'
  const liar = createServer((_request, response) => {
    response.writeHead(403, { 'content-type': 'application/problem+json' })
    response.end(JSON.stringify({ code: '\u001b[8m', detail }))
  })
  liar.listen(0, '127.0.0.1')
  await once(liar, 'listening')
  try {
    const url = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`
    const { findings } = await sample.run([...(await sample.cluster({})), { name: 'liar', url }])
    expect(places(findings)).toContain('node.refused null null null liar')
    const words = findings.map(({ message }) => message).join()
    expect(words).toContain('no findings')
    expect(words).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
  } finally {
    liar.close()
  }
})

describe('a log that a quorum cosigned against the rules', () => {
  /** Userchain with more leaves, cosigned. */
  async function runWith(...leaves: readonly Uint8Array[]): Promise<AuditReport> {
    const forged = sample.append(leaves, leafHash)
    const liar: Lies = { checkpoint: (chain) => history.checkpoint(chain, 0, chain === 'userchain' ? forged : {}) }
    return sample.run(await sample.cluster(liar))
  }
  const sealOf = (k: number, st: Uint8Array): Uint8Array => {
    const { h, ms } = parseSealLeaf(history.leaves.userchain.at(-1) as Uint8Array)
    const { size, root } = history.ledger.head('userchain')
    return encodeSealLeaf({ h: h + 1, i0: size, k, psize: size, proot: root, st, ms: ms + 1, rules: 1 })
  }

  it('block.seal.missing: it does not end with a SEAL', async () => {
    history.block('userchain', [history.algorithm()])
    const { findings } = await runWith(history.algorithm().leaf)
    expect(places(findings)).toEqual(['block.seal.missing userchain null 4 null'])
  })

  it('block.transaction.format: a leaf that is neither transaction nor SEAL', async () => {
    history.block('userchain', [history.algorithm()])
    const { findings } = await runWith(Uint8Array.of(0x83, 0x01, 0xff), sealOf(1, new Uint8Array(32)))
    expect(places(findings)).toEqual(['block.transaction.format userchain 2 4 null'])
  })

  it('block.seal.state: a state root that replay does not compute', async () => {
    history.block('userchain', [history.algorithm()])
    const { findings } = await runWith(history.algorithm().leaf, sealOf(1, new Uint8Array(32)))
    expect(places(findings)).toEqual(['block.seal.state userchain 2 5 null'])
  })

  it('block.algorithm.signature: a signature that is not the signer’s', async () => {
    history.block('userchain', [history.algorithm()])
    const { account } = sample.consortium.organisation
    const { body } = history.algorithm()
    const forged: Transaction = history.sign('userchain', body, [{ account, key: 1, signingKey: generateSigningKey() }])
    const { findings } = await runWith(forged.leaf, sealOf(1, new Uint8Array(32)))
    expect(places(findings)).toEqual(['block.algorithm.signature userchain 2 4 null'])
  })

  it('block.anchor-unknown: Docchain is anchored beyond what is published of Userchain', async () => {
    history.block('userchain', [history.algorithm()])
    const before = history.ledger.head('userchain')
    sample.anchored()
    const liar: Lies = { checkpoint: (chain) => history.checkpoint(chain, 0, chain === 'userchain' ? before : {}) }
    const { findings } = await sample.run(await sample.cluster(liar))
    expect(places(findings)).toEqual(['block.anchor-unknown docchain 1 null null'])
  })
})

describe('promises of gateways', () => {
  function promiseOf(
    txs: readonly Uint8Array[],
    fields: Partial<GatewayPromise> = {},
    key = sample.consortium.nodes[0]?.node,
  ) {
    if (key === undefined) throw new TypeError('no node')
    const { ledgerId } = sample.consortium.genesis
    const gateway = genesisAccount(ledgerId, (sample.consortium.nodes[0] as { node: typeof key }).node.publicKey)
    const statement = {
      v: 1,
      chain: 1,
      gateway,
      txs: [...txs],
      height: 0,
      deadline: Date.now() - 1,
      ...fields,
    } as const
    const signed = signStatement({ name: 'accepted', statement, ledgerId, signingKey: key })
    return encodeCbor([decodeCbor(signed.statement), signed.signature])
  }

  it('are kept by what is on record, by a signed refusal, and before their deadline', async () => {
    const committed = history.algorithm()
    history.block('userchain', [committed])
    const nodes = await sample.cluster({})
    const pending = promiseOf([history.id(history.algorithm())], { deadline: Date.now() + 60_000 })
    const report = await sample.run(nodes, { promises: [promiseOf([history.id(committed)]), pending] })
    expect(report.findings).toEqual([])
    expect(report.notChecked.join()).toContain('the deadline of 1 has not passed')
  })

  const longAgo = () => ({ deadline: Date.now() - 60_000 })

  it('promise.broken: neither on record, nor refused', async () => {
    const lost = history.algorithm()
    const nodes = await sample.cluster({})
    const { findings } = await sample.run(nodes, { promises: [promiseOf([history.id(lost)], longAgo())] })
    expect(places(findings)).toEqual(['promise.broken userchain 0 null node-0'])
  })

  it('are held against a gateway that does not answer only after ten minutes: it may have signed a refusal', async () => {
    const late = history.algorithm()
    const { head } = history.block('userchain', [late]) as PendingBlock
    const lost = [promiseOf([history.id(history.algorithm())], longAgo())]
    const passed = [promiseOf([history.id(late)], { deadline: head.ms - 1 })]
    const nodes = [{ name: 'node-0' }, await sample.node(1, history)]
    const waits = await sample.run(nodes, { promises: lost })
    expect(places(waits.findings)).toEqual(['node.unreachable null null null node-0'])
    expect(waits.notChecked).toContain('1 promises whose gateways do not answer: these have 10 min to show a refusal')
    const now = () => Math.max(Date.now(), head.ms) + silentMsMax
    const { findings } = await sample.run(nodes, { promises: [...lost, ...passed], now })
    const conduct = findings.filter(({ code }) => code.startsWith('promise.'))
    expect(conduct.map(({ code }) => code)).toEqual(['promise.broken', 'promise.late'])
    expect(conduct.every(({ message }) => message.includes('it does not answer'))).toBe(true)
  })

  it('are not broken by an audit that takes longer than they have, nor while the last blocks are on their way', async () => {
    history.block('userchain', [history.algorithm()])
    const beganMs = Date.now()
    let nowMs = beganMs
    const onBlock = () => {
      nowMs = beganMs + 120_000
    }
    const promises = [beganMs + 30_000, beganMs - 1].map((deadline) =>
      promiseOf([history.id(history.algorithm())], { deadline }),
    )
    const report = await sample.run(await sample.cluster({}), { promises, now: () => nowMs, onBlock })
    expect(report.findings).toEqual([])
    expect(report.notChecked.join()).toContain('the deadline of 2 has not passed')
  })

  it('are held against no ledger that could not be read', async () => {
    const committed = history.algorithm()
    history.block('userchain', [committed])
    const promises = [promiseOf([history.id(committed)], longAgo())]
    const nodes = await sample.cluster({ checkpoint: () => 'none' })
    const { findings, notChecked } = await sample.run(nodes, { promises })
    expect(findings.filter(({ code }) => code.startsWith('promise.'))).toEqual([])
    expect(notChecked.join()).toContain('promises of gateways, because the ledger was not replayed whole')
  })

  it('promise.broken: by an audit that goes on, once, when the time has passed; also of one that was given later', async () => {
    const beganMs = Date.now()
    let nowMs = beganMs
    const lost = [history.algorithm(), history.algorithm()].map((one) => history.id(one))
    const held = [promiseOf([lost[0] as Uint8Array], { deadline: beganMs + 30_000 })]
    const told: Finding[][] = []
    const stop = new AbortController()
    const wait = async () => {
      if (told.length === 1) nowMs += 45_000
      if (told.length === 2) held.push(promiseOf([lost[1] as Uint8Array], { deadline: beganMs, height: 1 }))
      if (told.length === 4) stop.abort()
    }
    const options = { wait, now: () => nowMs, promises: async () => held }
    const request = sample.request(await sample.cluster({}), options)
    await followAudit(request, { signal: stop.signal, onLook: ({ findings }) => told.push([...findings]) })
    const both = ['promise.broken userchain 0 null node-0', 'promise.broken userchain 1 null node-0']
    expect(told.map((findings) => places(findings))).toEqual([[], both.slice(0, 1), both, both])
  })

  it('promise.late: on record after the deadline, by somebody else', async () => {
    const late = history.algorithm()
    const { head } = history.block('userchain', [late]) as PendingBlock
    const nodes = await sample.cluster({})
    const before = promiseOf([history.id(late)], { deadline: head.ms - 1 })
    const inTime = promiseOf([history.id(late)], { deadline: head.ms })
    const { findings } = await sample.run(nodes, { promises: [before, inTime] })
    expect(places(findings)).toEqual(['promise.late userchain 0 null node-0'])
  })

  it('refusal.false: what was on record by the stated height', async () => {
    const { ledgerId } = sample.consortium.genesis
    const node = sample.consortium.nodes[0] as { node: SigningKey }
    const gateway = genesisAccount(ledgerId, node.node.publicKey)
    const committed = history.algorithm()
    const { head } = history.block('userchain', [committed]) as PendingBlock
    const refusalAt = (height: number) => {
      const tx = history.id(committed)
      const statement = { v: 1, chain: 1, gateway, tx, rule: 'algorithm.hash', height, st: head.stateRoot } as const
      const signed = signStatement({ name: 'refused', statement, ledgerId, signingKey: node.node })
      return encodeCbor([decodeCbor(signed.statement), signed.signature])
    }
    const promises = [refusalAt(head.height - 1), refusalAt(head.height)]
    const { findings } = await sample.run(await sample.cluster({}), { promises })
    expect(places(findings)).toEqual([`refusal.false userchain ${head.height} null node-0`])
  })

  it('promise.forged: signed by nobody who could promise', async () => {
    const promise = promiseOf([history.id(history.algorithm())], {}, generateSigningKey())
    const { findings } = await sample.run(await sample.cluster({}), { promises: [promise, Uint8Array.of(1)] })
    expect(places(findings)).toEqual(['promise.forged null null 0 null', 'promise.forged null null 1 null'])
  })
})

describe('what is late', () => {
  /** Nodes whose heads were cosigned at the time of the audit. */
  const cluster = (nowMs: () => number) =>
    sample.cluster({ checkpoint: (chain) => history.checkpoint(chain, 0, { ms: nowMs() }) })

  it('rule.envelope-late: by the time at which the heads were asked for, less what publication takes', async () => {
    const [patient, doctor] = [history.registration(), history.registration(2)]
    const streams = [randomBytes(8)]
    history.block('userchain', [patient.transaction, doctor.transaction])
    history.block('userchain', [history.licence(doctor.person), history.device(patient.person, streams)])
    const { head } = history.block('userchain', [history.grant(patient.person, doctor.person, streams)]) as PendingBlock
    const dueMs = head.ms + envelopeLateMs
    let nowMs = dueMs + publishedMsMax - 1
    // An envelope of just before its time may lie beyond the heads; that the audit takes longer changes nothing.
    const onBlock = () => {
      nowMs = dueMs + 120_000
    }
    const nodes = await cluster(() => nowMs)
    expect((await sample.run(nodes, { now: () => nowMs, onBlock })).findings).toEqual([])
    const { findings } = await sample.run(nodes, { now: () => nowMs })
    expect(places(findings)).toEqual([`rule.envelope-late userchain ${head.height} ${head.size - 2} null`])
  })

  describe('rule.anchor-due', () => {
    /** Two suspensions, `apartMs` one after the other; gives the block of the first. */
    function suspensions(apartMs = 0): PendingBlock {
      const { transaction, person } = history.registration(2)
      history.block('userchain', [transaction])
      const first = history.block('userchain', [history.licence(person, 2)]) as PendingBlock
      history.nowMs += apartMs
      history.block('userchain', [history.licence(person, 2)])
      return first
    }

    it('the oldest block that Docchain takes no note of, once its time is over', async () => {
      const { head } = suspensions(20_000)
      let nowMs = head.ms + anchorDueMsMax + publishedMsMax
      let waitedMs = 0
      const wait = async (ms: number) => {
        waitedMs += ms
      }
      const nodes = await cluster(() => nowMs)
      expect((await sample.run(nodes, { now: () => nowMs, wait })).findings).toEqual([])
      expect(waitedMs).toBe(0)
      nowMs++
      const { findings } = await sample.run(nodes, { now: () => nowMs, wait })
      expect(places(findings)).toEqual([`rule.anchor-due userchain ${head.height} ${head.size - 1} null`])
      expect(waitedMs).toBe(20_000)
    })

    it('nothing is due once a block is anchored beyond it, however long both ledgers are idle then', async () => {
      suspensions()
      history.block('docchain', [])
      history.block('userchain', [history.algorithm()])
      const nowMs = history.nowMs + 30 * 86_400_000
      const { findings } = await sample.run(await cluster(() => nowMs), { now: () => nowMs })
      expect(findings).toEqual([])
    })

    it('a cluster that has just started gets the time that it needs', async () => {
      suspensions()
      const nowMs = history.nowMs + 86_400_000
      let pauses = 0
      const wait = async () => {
        if (++pauses === 3) history.block('docchain', [])
      }
      const { findings, notChecked } = await sample.run(await cluster(() => nowMs), { now: () => nowMs, wait })
      expect(findings).toEqual([])
      expect(notChecked.join()).toContain('docchain after a revocation')
      expect(pauses).toBe(3)
    })

    it('an audit that goes on tells it once, waits once, and takes it back', async () => {
      suspensions()
      const nowMs = history.nowMs + 86_400_000
      const told: Finding[] = []
      const stop = new AbortController()
      let [looks, pauses] = [0, 0]
      const wait = async () => {
        pauses++
        if (looks === 2) history.block('docchain', [])
        if (looks === 3) stop.abort()
      }
      const onFinding = (finding: Finding) => told.push(finding)
      const request = sample.request(await cluster(() => nowMs), { now: () => nowMs, wait, onFinding })
      const last = await followAudit(request, { signal: stop.signal, onLook: () => looks++ })
      expect(told.map(({ code }) => code)).toEqual(['rule.anchor-due'])
      expect(last.findings).toEqual([])
      // Before the finding, and one between two looks.
      expect(pauses).toBe(20 + 3)
    })
  })
})

describe('an audit that goes on', () => {
  /** Follows until `work`, which is called after each look, says that it is enough. */
  async function follow(nodes: AuditNodes, work: (look: number) => Promise<boolean>, now: () => number = Date.now) {
    const told: Finding[] = []
    const reports: AuditReport[] = []
    const stop = new AbortController()
    const wait = async () => {
      if (await work(reports.length)) stop.abort()
    }
    const request = sample.request(nodes, { wait, now, onFinding: (finding) => told.push(finding) })
    const last = await followAudit(request, { signal: stop.signal, onLook: (report) => reports.push(report) })
    return { told, reports, last }
  }

  it('compares the state once the ledger was replayed whole, and says at every look what it looks at once', async () => {
    const cluster = await sample.cluster({})
    const reports: AuditReport[] = []
    const stop = new AbortController()
    const wait = async () => {
      if (reports.length === 3) stop.abort()
    }
    const nodes = () => (reports.length === 0 ? [{ name: 'node-0' }] : cluster)
    const request = sample.request(nodes, { wait, isStateCompared: true })
    await followAudit(request, { signal: stop.signal, onLook: (report) => reports.push(report) })
    for (const { notChecked } of reports.slice(1)) {
      expect(notChecked.filter((words) => words.includes('records of the state of '))).toHaveLength(2)
      expect(notChecked.filter((words) => words.startsWith('reads without a grant'))).toHaveLength(1)
      expect(notChecked).toEqual(reports[1]?.notChecked)
    }
    expect(reports).toHaveLength(3)
  })

  it('executes what is added, and alarms of what is altered in it, once', async () => {
    sample.fill(300)
    let at = -1
    const lies: Lies = {
      entry: (chain, index, leaf) =>
        chain === 'userchain' && index === at ? Uint8Array.from(leaf, (byte, i) => (i === 9 ? byte ^ 1 : byte)) : leaf,
    }
    const nodes = await sample.cluster({}, lies)
    const { told, reports, last } = await follow(nodes, async (look) => {
      if (look === 2) at = history.ledger.head('userchain').size
      history.block('userchain', [history.algorithm()])
      return look === 4
    })
    expect(places(told)).toEqual([
      `entry.altered userchain ${history.ledger.index('userchain').boundaryAfter(at)?.height} ${at} node-1`,
    ])
    expect(reports.map(({ ok }) => ok)).toEqual([true, true, false, false])
    expect(last.chains.userchain.height).toBe(history.ledger.head('userchain').height - 1)
    expect(last.transactions).toBeGreaterThan(300)
  })

  it('compares everything at a node that was away at first, or comes back, though nothing was added', async () => {
    sample.fill(300)
    let nowMs = Date.now()
    const lies: Lies = { status: 503, checkpoint: (chain) => history.checkpoint(chain, 1, { ms: nowMs }) }
    const nodes = await sample.cluster({ checkpoint: (chain) => history.checkpoint(chain, 0, { ms: nowMs }) }, lies)
    const comeBack = (at: number): void => {
      delete lies.status
      lies.entry = (chain, index, leaf) => (chain === 'userchain' && index === at ? altered(leaf) : leaf)
    }
    const { reports } = await follow(
      nodes,
      async (look) => {
        if (look === 1) comeBack(3)
        if (look === 2) lies.status = 503
        if (look === 3) comeBack(4)
        // Who comes and goes is compared whole every ten minutes.
        if (look === 4) nowMs += 600_000
        return look === 5
      },
      () => nowMs,
    )
    const found = reports.map(({ findings }) => findings.filter(({ code }) => code === 'entry.altered'))
    expect(found.map((findings) => findings.map(({ index }) => index))).toEqual([[], [3], [3], [3], [3, 4]])
    const waits = reports.map(({ notChecked }) => notChecked.some((words) => words.includes('node-1, which was away')))
    expect(waits).toEqual([false, false, false, true, false])
  })

  it.each([
    ['', [40_000, 40_000, 0]],
    [', though the clock was set back meanwhile', [40_000, -3_600_000, 0]],
  ])('asks again for what a node did not serve, and lists it until it does%s', async (_, passedMs) => {
    sample.fill(300)
    let nowMs = Date.now()
    const lies: Lies = { missing: (path) => path === 'userchain/tile/entries/000' }
    const { told, reports } = await follow(
      await sample.cluster({}, lies),
      async (look) => {
        nowMs += passedMs[look - 1] ?? 0
        if (look === 2) delete lies.missing
        return look === 3
      },
      () => nowMs,
    )
    expect(places(told)).toEqual([expect.stringMatching(/^entry.missing userchain \d+ 0 node-1$/)])
    expect(reports.map(({ findings }) => findings.length)).toEqual([1, 1, 0])
  })

  it('asks a node that joins, and no longer one that was taken out', async () => {
    const [first, second] = (await sample.cluster({}, {})) as [AuditNode, AuditNode]
    let nodes = [first, second]
    const { told, reports, last } = await follow(
      () => nodes,
      async (look) => {
        if (look === 1) await sample.running.splice(1, 1)[0]?.close()
        if (look === 2) nodes = [first, await sample.node(2, history, { incidents: () => [{}] })]
        return look === 3
      },
    )
    expect(places(told)).toEqual(['incident.forged null null null node-2', 'node.unreachable null null null node-1'])
    expect(places(last.findings)).toEqual(['incident.forged null null null node-2'])
    expect(reports.every(({ notChecked }) => notChecked.join().includes('2 of 4 nodes were not named'))).toBe(true)
  })

  it('outlives a node that goes and comes back, and tells each time that it goes', async () => {
    const nodes = await sample.cluster({}, {})
    const lies = sample.running[1]?.lies as { status?: number }
    const { told, last } = await follow(nodes, async (look) => {
      if (look === 1 || look === 3) lies.status = 503
      else delete lies.status
      return look === 5
    })
    expect(told.filter(({ code }) => code === 'checkpoint.invalid')).toHaveLength(4)
    expect(last.findings).toEqual([])
  })
})
