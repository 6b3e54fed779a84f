import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rulesVersionNewest } from '@healthblock/chain/genesis'
import { encodeGovernArgument, governActs } from '@healthblock/chain/governing'
import type { PolicyRecord } from '@healthblock/chain/tables'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Consortium } from '../../../packages/chain/src/consortium.test-support.ts'
import { keyOf } from '../../../packages/chain/src/sample.test-support.ts'
import { mutate, Random, reshape } from '../../../test/support/mutate.ts'
import { CommandError } from '../io.ts'
import { checkProposal, type Proposal, previewLines, readProposal, writeProposal } from './proposal.ts'
import type { GoverningState } from './state.ts'

const world = new Consortium()
const policy = world.ledger.policy('userchain')
const organisations = world.organisations.map((account, i) => ({ account, root: keyOf(`root ${i}`).publicKey }))
const state: GoverningState = {
  ...{
    n: 0,
    organisations,
    policy,
    policyNumber: 0,
    rankMax: 3,
    rules: [],
    rulesFirst: 3,
    height: 0,
    size: 2,
    docchainSize: 2,
  },
}
const changed = world.policy((argument) => {
  const [, org, account] = argument.nodes[1] as (typeof argument.nodes)[number]
  const [, , , ...keys] = world.newNode(1, 1, 'a thief')
  argument.nodes = argument.nodes.with(1, [1, org, account, ...keys] as (typeof argument.nodes)[number])
})
const recordOf = (some: Partial<PolicyRecord>): Uint8Array => encodeCbor({ ...policy, ...some } as unknown as CborValue)

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'healthblock-proposal-'))
  path = join(dir, 'change.json')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** A proposal that changes the keys of node 1, as its maker wrote it. */
function proposed(change: Partial<Proposal> = {}): Proposal {
  const arg = encodeGovernArgument(governActs.policy, changed)
  const body = { v: 1, t: 'govern', a: world.organisations[0] as Uint8Array, act: 3, arg, n: 1 } as const
  const { ledgerId } = world.genesis
  writeProposal(path, { ledgerId, body, organisations, before: recordOf({}), signatures: [], ...change })
  return readProposal(path)
}

describe('a proposal', () => {
  it('of the policy in force is shown with what it changes', () => {
    const proposal = proposed()
    expect(() => checkProposal(proposal, state)).not.toThrow()
    expect(previewLines(proposal).filter((line) => line.includes('KEYS node 1'))).toHaveLength(1)
  })

  it('that leaves the ledger open to one node that lies, or that is down, says so', () => {
    const lineOf = (word: string, nodeCount: number, q: number): string | undefined => {
      const weaker = world.policy((argument) => {
        argument.nodes = argument.nodes.slice(0, nodeCount)
        argument.q = q
      })
      const body = { ...proposed().body, arg: encodeGovernArgument(governActs.policy, weaker) }
      return previewLines({ ...proposed(), body }).find((line) => line.includes(word))
    }
    expect(lineOf('WEAK', 4, 3)).toBeUndefined()
    expect(lineOf('WEAK', 3, 3)).toBeUndefined()
    expect(lineOf('WEAK', 3, 2)).toContain('3 of 3 stands that')
    expect(lineOf('WEAK', 1, 1)).toBeUndefined()
    expect(lineOf('BRITTLE', 4, 3)).toBeUndefined()
    expect(lineOf('BRITTLE', 4, 4)).toContain('one node that is down stops the ledger')
    expect(lineOf('BRITTLE', 1, 1)).toBeUndefined()
  })

  it('of rules that this program does not know says that such nodes stop there', () => {
    const unknownOf = (version: number): string | undefined => {
      const arg = encodeGovernArgument(governActs.parameters, { quota: [], rules: [version, 100] })
      const { ledgerId, body } = proposed()
      return previewLines({ ledgerId, body: { ...body, act: governActs.parameters, arg }, before: undefined }).find(
        (line) => line.includes('UNKNOWN'),
      )
    }
    expect(unknownOf(rulesVersionNewest)).toBeUndefined()
    expect(unknownOf(rulesVersionNewest + 1)).toContain(`knows up to version ${rulesVersionNewest}`)
  })

  it("that passes a thief's keys off as the present ones is not signed", () => {
    const nodes = changed.nodes.map(([, ...node]) => node) as PolicyRecord['nodes']
    const proposal = proposed({ before: recordOf({ nodes }) })
    // By its own word it changes nothing.
    expect(previewLines(proposal).some((line) => line.includes('KEYS'))).toBe(false)
    expect(() => checkProposal(proposal, state)).toThrow('another policy than the one in force')
  })

  it('of other organisations, or of an act that is not the next, is not signed', () => {
    const fewer = proposed({ organisations: organisations.slice(0, 1) })
    expect(() => checkProposal(fewer, state)).toThrow('other organisations')
    expect(() => checkProposal(proposed(), { ...state, n: 1 })).toThrow('the next one is 2')
  })

  it('that is damaged is refused by name, whatever the damage', () => {
    proposed()
    const good = new Uint8Array(readFileSync(path))
    const random = new Random(20_261_127)
    for (let i = 0; i < 400; i++) {
      writeFileSync(path, i % 4 === 0 ? mutate(random, [good]) : reshape(random, [good]))
      try {
        previewLines(readProposal(path))
      } catch (error) {
        expect(error).toBeInstanceOf(CommandError)
      }
    }
  })
})
