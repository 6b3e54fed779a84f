/** The auditor's and the operator's story: a clean audit, an altered byte, the finding, and the incident acknowledged. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chainOrigin, checkpointText, cosignCheckpoint } from '@healthblock/chain/checkpoint'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { encodeSingleNote, evidenceKinds } from '@healthblock/chain/misconduct'
import { signTransaction } from '@healthblock/chain/transaction'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { totpOf } from '@healthblock/runtime/totp'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { readerToken } from '../../cli/src/cluster/enrol.ts'
import { flipByteInFiles } from '../../cli/src/demo/tamper-step.ts'
import { eventually, hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { testAuditorFiles } from './auditor-files.ts'
import { confirmCode, hasChromium, PortalReader } from './browser.ts'
import { leafOf } from './leaf.ts'
import { newRegistration } from './registration.ts'

/** The bytes of a TOTP secret as an app is told it (RFC 4648 base32). */
function secretOfBase32(text: string): Uint8Array {
  const values = [...text.replaceAll(/[^A-Z2-7]/g, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c))
  const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('')
  return Uint8Array.from({ length: bits.length >> 3 }, (_, at) => Number.parseInt(bits.slice(8 * at, 8 * at + 8), 2))
}

/** An organisation shows that a node signed two roots of one size: on record when it returns. */
async function putEvidence(cluster: TestCluster, rank: number): Promise<void> {
  const genesis = parseGenesis(readFileSync(join(cluster.dir, 'genesis.cbor')))
  const { ledgerId } = genesis
  const keyOf = (node: number, name: string): SigningKey =>
    signingKeyFromSeed(fromHex(readFileSync(join(cluster.node(`accounting-${node}`), 'secrets', name), 'utf8').trim()))
  const notes = [1, 2].map((fill) => {
    const head = {
      origin: chainOrigin({ ledgerId, chain: 'userchain' }),
      size: 4,
      root: new Uint8Array(32).fill(fill),
    }
    const signer = keyOf(rank, 'userchain-cosigner.key')
    return encodeSingleNote(checkpointText(head), cosignCheckpoint(head, { rank, signer, nowMs: Date.now() }))
  })
  const [a] = genesisAccounts(genesis).organisations as [Uint8Array]
  const signed = signTransaction({
    ledgerId,
    chain: 'userchain',
    body: { v: 1, t: 'evidence', a, kind: evidenceKinds.equivocation, notes },
    signers: [{ account: a, key: 1, signingKey: keyOf(0, 'organisation-op.key') }],
  })
  const url = cluster.url('accounting-0')
  const headers = { 'content-type': 'application/cbor-seq' }
  const body = Buffer.from(signed.leaf)
  expect((await fetch(`${url}/v1/userchain/transactions`, { method: 'POST', headers, body })).status).toBe(202)
  const authorization = `Bearer ${readerToken(cluster.dir, 'auditor', 'ledger')}`
  await eventually('evidence on record', async () => {
    const response = await fetch(`${url}/v1/evidence`, { headers: { authorization } })
    const [found] = (await response.json()) as { index: number | null }[]
    return found?.index ?? undefined
  })
}

vi.setConfig({ testTimeout: storyMs, hookTimeout: storyMs })

describe.skipIf(!hasChromium || !hasRedis)("the auditor's portal (needs Chromium and Redis)", () => {
  let cluster: TestCluster
  /** The entry by which the doctor may read. */
  let grant: string
  let grantedAt: string

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['ann'] })
    grant = (await cluster.ok<{ transactionId: string }>('patient', 'grant', 'ann', 'doctor-a')).transactionId
    grantedAt = new Date().toISOString()
    const record = await writeRecord(cluster.root, { seconds: 40 })
    await cluster.ok('patient', 'stream', 'ann', '--record', record, '--speed', 'max', '--wait')
  }, storyMs)

  afterAll(() => cluster?.remove(), hangMs)

  const readers: PortalReader[] = []
  async function open(name: string, node = 'accounting-0', options: Parameters<typeof PortalReader.open>[1] = {}) {
    const reader = await PortalReader.openAs(cluster, { node, name }, options)
    readers.push(reader)
    return reader
  }

  afterEach(async () => {
    for (const reader of readers.splice(0)) if (reader.isOpen) await reader.close()
    await cluster.makeWhole()
  })

  /** Nothing that the page, its policy or axe-core complains of. */
  async function isSound(reader: PortalReader): Promise<void> {
    expect(await reader.accessibilityFindings()).toEqual([])
    expect(reader.complaints).toEqual([])
  }

  test('audit clean, a byte altered, audit again: the finding is told with its place, and the incident is acknowledged', async () => {
    const reader = await open('auditor')
    const { page } = reader
    try {
      await page.waitForSelector('text=No audit has been run here yet')
      await isSound(reader)
      await page.click('button:has-text("Run an audit")')
      await page.waitForSelector('text=Last audit: nothing found')
      await page.waitForSelector('.not-checked li')
      expect(await page.textContent('.not-checked')).toContain('witnesses outside the ledger')
      await reader.picture('auditor-1-clean')
      await isSound(reader)

      const token = readerToken(cluster.dir, 'auditor', 'ledger')
      const { index, leaf } = await leafOf(cluster.url('accounting-0'), token, 'iot')
      const files = flipByteInFiles(join(cluster.node('accounting-0'), 'userchain', 'log'), leaf)
      expect(files).toHaveLength(1)
      await page.click('button:has-text("Run an audit")')
      await page.waitForSelector('text=/Last audit: \\d+ finding/')
      const finding = (await page.textContent('.finding')) ?? ''
      expect(finding).toContain('incident.entry-damaged')
      expect(finding).toContain('accounting-0')
      expect(finding).toContain('Userchain')
      expect(finding).toContain(`entry ${index}`)
      expect(finding).toMatch(/block \d/)
      await page.waitForSelector('nav .count')
      await reader.picture('auditor-2-finding')
      await isSound(reader)

      await page.click('nav >> text=Incidents')
      await page.waitForSelector('text=1 incident waits to be acknowledged')
      // An auditor sees it and cannot acknowledge it.
      expect(await page.locator('button:has-text("Acknowledge")').count()).toBe(0)
      await isSound(reader)
      await page.click('.who button')

      await reader.logIn('administrator', cluster.passphrase('administrator'))
      await page.click('button:has-text("Acknowledge")')
      await page.waitForSelector('dialog')
      await reader.picture('auditor-3-acknowledge')
      await isSound(reader)
      await page.click('dialog button.primary')
      await page.waitForSelector('text=0 incidents wait')
      await reader.picture('auditor-4-acknowledged')
      await page.click('nav >> text=Audit')
      await page.click('button:has-text("Run an audit")')
      await page.waitForSelector('text=Last audit: nothing found')
      // The audits of before are listed, each with who wanted it.
      await expect.poll(() => page.locator('.history li').count()).toBe(3)
      await page.click('.history li:nth-child(2) a')
      await page.waitForSelector('.finding')
      await isSound(reader)
    } catch (error) {
      await reader.close('auditor-story')
      throw error
    }
    await reader.close()
  })

  test('the explorer: a block, an entry in words, its proof and an account, all checked in the browser', async () => {
    const reader = await open('auditor')
    const { page } = reader
    await page.click('nav >> text=Explorer')
    await page.waitForSelector('.block-row >> text=/Records of a patient/')
    await page.waitForSelector('text=/[34] of 4 nodes/')
    await reader.picture('auditor-8-explorer')
    await isSound(reader)
    await page.focus('.block-row a')
    for (let n = 0; n < 3; n++) await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForSelector('h1:has-text("Block")')
    await isSound(reader)
    await page.goBack()
    await page.waitForSelector('.block-row a')
    const token = readerToken(cluster.dir, 'auditor', 'ledger')
    const { index } = await leafOf(cluster.url('accounting-0'), token, 'licence')
    await page.fill('input[name=wanted]', String(index))
    await page.keyboard.press('Enter')
    await page.waitForSelector('h1:has-text("Licence of a doctor")')
    await page.waitForSelector('.proof-steps >> text=of 4 nodes signed')
    await reader.picture('auditor-9-entry')
    await isSound(reader)
    await page.click('.facts a[href*="account"] >> nth=0')
    await expect.poll(() => page.textContent('h1:not(.hidden)')).toBe('doctor-a')
    await page.waitForSelector('.notice.good')
    await page.waitForSelector('.entries a')
    await reader.picture('auditor-10-account')
    await isSound(reader)
    // As it was before anybody had registered; the address keeps it, and Back leads out of it.
    await page.fill('input[name=at]', 'nonsense')
    await page.click('button:has-text("Prove it")')
    await page.waitForSelector('text=neither the number of an entry')
    await page.fill('input[name=at]', 'block 0')
    await page.click('button:has-text("Prove it")')
    await page.waitForSelector('text=No account of this name is on record. That too is proved.')
    await page.waitForSelector('.notice.good >> text=as of block 0')
    await page.reload()
    await page.waitForSelector('.notice.good >> text=as of block 0')
    await reader.picture('auditor-10-account-as-of')
    await isSound(reader)
    await page.goBack()
    await page.waitForSelector('.facts a:has-text("since entry")')
    await page.fill('input[name=wanted]', grant)
    await page.keyboard.press('Enter')
    await page.click('summary:has-text("What was true after it")')
    await page.waitForSelector('.records >> text=An access in force')
    await page.waitForSelector('section .notice.good >> text=as of block')
    await reader.picture('auditor-9-entry-state')
    await isSound(reader)
    await page.fill('input[name=at]', String(index))
    await page.click('button:has-text("Prove it")')
    await page.waitForSelector('.records >> text=This access was not on record')
    for (const [wanted, answer] of [
      ['<img src=x onerror=alert(1)>', 'neither a number'],
      ['99999999', 'Nothing on either ledger'],
      ['ab'.repeat(32), 'No account of this name'],
    ] as const) {
      await page.fill('input[name=wanted]', wanted)
      await page.keyboard.press('Enter')
      await page.waitForSelector(`text=${answer}`)
    }
    await isSound(reader)
    await reader.close()
  })

  test('a node that shows a false proof is found out in the browser', async () => {
    const reader = await open('auditor')
    const { page } = reader
    await page.route('**/userchain/checkpoint', async (route) => {
      const response = await route.fetch()
      // One entry more than the nodes signed.
      await route.fulfill({
        response,
        body: (await response.text()).replace(/\n(\d+)\n/, (_, size) => `\n${Number(size) + 1}\n`),
      })
    })
    await page.goto(`${cluster.url('accounting-0')}/#/explorer`)
    await page.waitForSelector('section[aria-label="Newest summary of Userchain"] .notice.bad')
    const flip = (text: string): string => text.replace(/"proof":"([^"]*)index (\d+)/, '"proof":"$1index 1$2')
    await page.route('**/receipt', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, body: flip(await response.text()) })
    })
    await page.route('**/v1/userchain/state*', async (route) => {
      const response = await route.fetch()
      const json = (await response.json()) as { value: string; proof: { value: string } }
      const value = Buffer.from(json.value, 'base64')
      value[value.length - 1] = (value.at(-1) as number) ^ 1
      await route.fulfill({ response, json: { ...json, value: value.toString('base64') } })
    })
    const token = readerToken(cluster.dir, 'auditor', 'ledger')
    const { index } = await leafOf(cluster.url('accounting-0'), token, 'licence')
    await page.goto(`${cluster.url('accounting-0')}/#/explorer/userchain/entry/${index}`)
    await page.waitForSelector('text=This proof does not hold')
    await page.click('.facts a[href*="account"] >> nth=0')
    await page.waitForSelector('text=not a proof of the state')
    await page.unroute('**/v1/userchain/state*')
    // A true proof, of another block.
    await page.route('**/v1/userchain/state*', async (route) => {
      await route.continue({
        url: route
          .request()
          .url()
          .replace(/height=\d+/, 'height=1'),
      })
    })
    await page.fill('input[name=at]', 'block 0')
    await page.click('button:has-text("Prove it")')
    await page.waitForSelector('text=the state of another block')
    await isSound(reader)
    await reader.close()
  })

  test('an administrator sponsors a registration, licenses and suspends a doctor, and turns on a second factor', async () => {
    const reader = await open('administrator')
    const { page } = reader
    await page.waitForSelector('text=with a passphrase alone')
    await page.click('nav >> text=People')
    await page.waitForSelector('.person >> text=doctor-a')
    await isSound(reader)
    await page.click('button:has-text("Suspend")')
    await page.waitForSelector('text=refused everywhere')
    await reader.picture('auditor-11-suspend')
    await isSound(reader)
    await page.dblclick('dialog button.danger')
    await page.waitForSelector('dialog >> text=/On record: block/')
    await reader.picture('auditor-12-recorded')
    await isSound(reader)
    await page.keyboard.press('Escape')
    await page.waitForSelector('.person >> text=suspended')
    await page.click('button:has-text("Give a licence")')
    await page.click('dialog button.primary')
    await page.waitForSelector('dialog >> text=/On record: block/')
    await page.click('dialog button.icon')
    await page.waitForSelector('.person >> text=active until')

    const name = '<b>Zoë</b> \u202e محمد 李'
    await page.fill('textarea', 'not a registration')
    await page.click('button:has-text("Read it")')
    await page.waitForSelector('text=This is not a registration')
    await page.setInputFiles('form input[type=file]', {
      name: 'scan.pdf',
      mimeType: '',
      buffer: Buffer.alloc(65_537),
    })
    await page.waitForSelector('text=This file is larger than a registration can be: at most 64 KiB.')
    expect(await page.inputValue('textarea')).toBe('')
    await page.setInputFiles('form input[type=file]', {
      name: 'cut.json',
      mimeType: '',
      buffer: Buffer.from('{"body":"a'),
    })
    await page.click('button:has-text("Read it")')
    await page.waitForSelector('text=This is not a registration')
    const made = newRegistration(cluster)
    await page.fill('textarea', made.body)
    await page.fill('form input[name=name]', name)
    await page.click('button:has-text("Read it")')
    await page.waitForSelector('dialog >> text=guardian')
    await isSound(reader)
    await page.click('dialog button.primary')
    const signature = (await page.textContent('.signature')) ?? ''
    await page.waitForSelector('text=Waiting to be put on record')
    await made.submit(cluster.url('accounting-1'), signature)
    await page.waitForSelector('.ticks >> text=/On record: block/')
    await page.waitForSelector(`.person bdi:text-is(${JSON.stringify(name)})`)
    await reader.picture('auditor-13-sponsored')
    await isSound(reader)

    await page.click('nav >> text=My login')
    await page.click('button:has-text("Set up an app")')
    await page.waitForSelector('svg.qr path')
    await isSound(reader)
    await reader.picture('auditor-14-second-factor')
    await page.click('text=Type it in by hand instead')
    const secret = secretOfBase32((await page.textContent('.secret')) ?? '')
    const codeAt = (steps: number): string => totpOf(secret, Math.floor(Date.now() / 30_000) + steps)
    await page.fill('input[name=code]', '000000')
    await page.click('.act button.primary')
    await page.waitForSelector('text=A code is good once')
    await confirmCode(page, '.act button.primary', () => codeAt(-1))
    await page.waitForSelector('text=your passphrase alone does not open this page')
    await page.click('.who button')
    await page.fill('input[name=name]', 'administrator')
    await page.fill('input[name=passphrase]', cluster.passphrase('administrator'))
    await page.click('button[type=submit]')
    await page.fill('input[name=code]', codeAt(0))
    await page.click('button[type=submit]')
    await page.waitForSelector('header.head')
    await page.click('text=Turn the app off')
    await page.fill('input[name=code]', codeAt(1))
    await page.click('.act button.danger')
    await page.waitForSelector('text=whoever has your passphrase can open this page')
    await isSound(reader)
    await reader.close()
  })

  test('the nodes are shown with leaders, heights and storage; one that is away says since when', async () => {
    const reader = await open('auditor')
    const { page } = reader
    await page.click('nav >> text=Nodes')
    await page.waitForSelector('text=All 4 accounting nodes are ready')
    await page.waitForSelector('.node >> text=storage-2')
    await reader.picture('auditor-5-nodes')
    await isSound(reader)
    await cluster.kill('accounting-3')
    await page.waitForSelector('text=/need.*attention: .*accounting-3/')
    await page.waitForSelector('.node.away >> text=/Answered/')
    await page.waitForSelector('.node.away >> text=/does not answer \\(http:.* ECONNREFUSED\\)/')
    await reader.picture('auditor-6-node-away')
    await isSound(reader)
    await cluster.restart('accounting-3')
    await page.waitForSelector('text=All 4 accounting nodes are ready')
    await reader.close()
  })

  test('the standing watch is turned on, survives a reload, and raises an alarm', async () => {
    const reader = await open('auditor', 'accounting-1')
    const { page } = reader
    await page.click('button:has-text("Turn on")')
    await page.waitForSelector('text=/It has seen \\d+/')
    await page.reload()
    await page.waitForSelector('text=/It has seen \\d+/')
    await cluster.kill('accounting-2')
    await page.waitForSelector('section[aria-label="Alarms of the watch"] .finding')
    await page.waitForSelector('section[aria-label="Alarms of the watch"] .finding >> text=accounting-2')
    await reader.picture('auditor-7-alarm')
    await isSound(reader)
    await cluster.restart('accounting-2')
    await page.click('button:has-text("Turn off")')
    await page.waitForSelector('text=Off. When it is on')
    await reader.close()
  })

  test('a node that signed two truths is named, on top and at its own place, although it is ready', async () => {
    await putEvidence(cluster, 2)
    const reader = await open('auditor')
    const { page } = reader
    await page.click('nav >> text=Nodes')
    await page.waitForSelector('section[aria-label="Evidence of misbehaviour"] >> text=Two truths signed for one size')
    expect(await page.textContent('section[aria-label="Evidence of misbehaviour"] li')).toMatch(
      /^Two truths signed for one size · accounting-2 · Userchain entry \d+$/,
    )
    await page.waitForSelector('.verdict.bad >> text=One needs attention: accounting-2')
    await page.waitForSelector('.node[aria-label="accounting-2"].ready >> text=shown to have done wrong')
    await reader.picture('auditor-15-evidence')
    await isSound(reader)
    await page.click('section[aria-label="Evidence of misbehaviour"] a')
    await page.waitForSelector('dl.facts >> text=accounting-2')
    await page.click('summary:has-text("Details")')
    await page.waitForSelector('section.raw[tabindex="0"]')
    await isSound(reader)
    await reader.close()
  })

  testAuditorFiles(() => ({ cluster, grant, grantedAt }))
})
