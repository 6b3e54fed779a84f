import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { verifyStatement } from '@healthblock/chain/statement'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isAccountingError } from '../errors.ts'
import { type Fault, IncidentLog } from './incident-log.ts'

const nodeKey = generateSigningKey()
const ledgerId = new Uint8Array(32).fill(7)
const account = new Uint8Array(32).fill(9)
const fault: Fault = { code: 'entry-damaged', chain: 'docchain', height: 3, index: 17, file: 'log/entries' }

let dir: string
let path: string
const open = (): IncidentLog => new IncidentLog({ path, ledgerId, account, nodeKey, nowMs: () => 1_700_000_000_000 })

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'incidents-'))
  path = join(dir, 'incidents.log')
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('the incident file', () => {
  test('keeps what was found, healed and acknowledged, signed, over a restart', () => {
    const first = open()
    const { number } = first.found(fault)
    expect(first.found(fault).number).toBe(number)
    first.found({ ...fault, index: 18 })
    first.healed(number)
    first.acknowledge(number)
    first.close()
    const again = open()
    expect(again.list().map(({ index, isHealed, acknowledgedMs }) => [index, isHealed, acknowledgedMs])).toEqual([
      [17, true, 1_700_000_000_000],
      [18, false, undefined],
    ])
    expect(again.openCount).toBe(1)
    const { signed } = again.get(number)
    const said = verifyStatement({ name: 'incident', signed, ledgerId, publicKey: nodeKey.publicKey })
    expect(said).toMatchObject({
      code: 'entry-damaged',
      chain: 2,
      height: 3,
      index: 17,
      file: 'log.entries',
      healed: 1,
    })
    // Healed once, the same place can fail again.
    expect(again.found(fault).number).toBe(2)
    again.close()
  })

  test('cuts off a torn last line, and refuses a damaged one', () => {
    const first = open()
    first.found(fault)
    first.close()
    const whole = readFileSync(path)
    appendFileSync(path, 'g2F')
    open().close()
    expect(readFileSync(path)).toEqual(whole)
    writeFileSync(path, `!${whole.toString('latin1').slice(1)}`)
    expect(open).toThrowError(expect.toSatisfy((error) => isAccountingError(error, 'ERR_INCIDENTS_DAMAGED')))
  })

  test('knows no incident that was not found', () => {
    const log = open()
    expect(() => log.acknowledge(0)).toThrowError(
      expect.toSatisfy((error) => isAccountingError(error, 'ERR_INCIDENT_ABSENT')),
    )
    log.close()
  })
})
