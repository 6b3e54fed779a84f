/** What scripts rely on: names, exit codes, what goes to stdout and what to stderr, for every command alike. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { encodeVkey, type NoteKey, signatureTypes } from '@healthblock/chain/checkpoint'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { main } from './main.ts'

const commands = [
  ...['demo', 'test', 'up', 'down', 'status', 'patient', 'doctor', 'device', 'audit', 'recall', 'dispute', 'verify'],
  ...['org', 'ledger', 'storage', 'ecg', 'score', 'bench'],
]
const withActions = ['patient', 'doctor', 'device', 'org', 'ledger', 'storage']

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb cli '))
  writeFileSync(join(dir, 'empty'), '')
  writeFileSync(join(dir, 'latin1'), Buffer.from('Patient wünscht keine Änderung', 'latin1'))
  mkdirSync(join(dir, 'full', 'unfinished'), { recursive: true })
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function run(...argv: string[]) {
  let [out, err] = ['', '']
  const code = await main(argv, {
    stdin: (async function* () {})(),
    stdout: (text) => {
      out += text
    },
    stderr: (text) => {
      err += text
    },
    interactive: false,
  })
  return { code, out, err }
}

/** As a command line: a word for each part. */
const line = (text: string): string[] => text.split(' ').filter((word) => word !== '')

describe('every command', () => {
  test.each(commands)('%s --help says how it is used', async (name) => {
    const { code, out, err } = await run(name, '--help')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(new RegExp(`^Usage:\\s+\\./healthblock ${name}`))
  })

  test.each(commands.filter((name) => name !== 'ecg'))('%s takes no option that it does not know', async (name) => {
    const { code, out, err } = await run(name, '--bogus', '--json')
    expect([code, out]).toEqual([2, ''])
    expect(err).toBe(`healthblock ${name}: there is no option --bogus\nTry ./healthblock ${name} --help\n`)
  })

  test.each(withActions)('%s without an action is a mistake, and no result', async (name) => {
    const { code, out, err } = await run(name, '--json')
    expect([code, out]).toEqual([2, ''])
    expect(err).toMatch(/^Usage:/)
  })

  test.each(
    withActions.flatMap((name) => ['nosuch', 'constructor', '__proto__', 'toString'].map((action) => [name, action])),
  )('%s %s: there is no such action', async (name, action) => {
    expect(await run(name as string, action as string, '--dir', dir)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining(`there is no action "${action}"`),
    })
  })
})

test.each(['nosuch', 'constructor', '__proto__', '--versions', ''])('"%s" is no command', async (name) => {
  expect(await run(name)).toMatchObject({ code: 2, out: '', err: expect.stringContaining(`no command "${name}"`) })
})

test('it says which program it is', async () => {
  const words = /^healthblock \d+\.\d+\.\d+ \(rules up to \d+, healthblock-monitor@\d+\.\d+\.\d+, Node v\d+/
  for (const name of ['--version', '-V', 'version'])
    expect(await run(name)).toMatchObject({ code: 0, err: '', out: expect.stringMatching(words) })
  const { out } = await run('--version', '--json')
  expect(JSON.parse(out)).toMatchObject({ version: expect.any(String), rules: expect.any(Number) })
})

test('nothing at all is a mistake; help is help', async () => {
  expect(await run()).toMatchObject({ code: 2, out: '', err: expect.stringContaining('Usage:') })
  expect(await run('help')).toMatchObject({ code: 0, err: '', out: expect.stringContaining('Usage:') })
})

/** Keys that no witness has. */
const vkeyOf = (name: string, type: NoteKey['type']): string =>
  encodeVkey({ name, type, publicKey: new Uint8Array(32) })
const keys = {
  log: vkeyOf('log.example', signatureTypes.log),
  node: vkeyOf(`healthblock/${'0'.repeat(64)}/userchain/0`, signatureTypes.cosigner),
  changed: vkeyOf('witness.example', signatureTypes.cosigner).replace('witness', 'witless'),
}

/** Command lines that are wrong, with the words that say why. */
const mistakes: [string, string][] = [
  ['up --accounting', '--accounting needs a value'],
  ['up --accounting -1', '--accounting needs a value; one that begins with a dash is written --accounting=-1'],
  ['up --accounting=-1', 'a whole number from 1 to 16, not "-1"'],
  ['up --accounting 1e1', 'a whole number from 1 to 16, not "1e1"'],
  ['up --doctors 999999999999999999999', 'a whole number from 0 to 26'],
  ['up --storage 2 --replicas 3', 'a whole number from 1 to 2'],
  ['up extra', 'needs no arguments'],
  ['up --json=yes', '--json takes no value'],
  ['patient add', 'needs NAME'],
  ['patient grant anna', 'needs NAME DOCTOR'],
  ['patient grant anna a --until tomorrow', '--until takes an ISO 8601 time such as'],
  ['patient grant anna a --until 2027-02-29', '--until takes an ISO 8601 time such as'],
  ['patient grant anna a --from 2027-01-02 --until 2027-01-01T23:00:00-01:00', '--until has to lie after --from'],
  ['patient stream anna', 'needs --record'],
  ['patient stream anna --record r --speed Infinity', '--speed takes a positive number or max'],
  ['demo --speed 1e999', '--speed takes a positive number or max, not "1e999"'],
  ['patient list extra', 'needs no arguments'],
  ['doctor readings a', 'needs DOCTOR PATIENT'],
  ['doctor post a anna', 'needs --in'],
  ['device send anna', 'needs '],
  ['device list', 'needs NAME'],
  [
    'device remove anna 00ff',
    'a device is 32 hexadecimal characters, as "patient device list anna" prints them, not "00ff"',
  ],
  ['patient device', 'needs NAME, list NAME, or remove NAME DEVICE'],
  ['patient device list', 'needs NAME'],
  ['patient device remove anna', 'needs NAME DEVICE'],
  ['patient device forget anna', 'needs NAME, list NAME, or remove NAME DEVICE'],
  ['verify', 'needs FILE'],
  ['verify a b', 'needs FILE'],
  ['verify a --genesis b --trust c', 'not both'],
  ['verify a --witness words', '--witness "words" is not the key of a witness: it is not NAME+ID+KEY'],
  [`verify a --witness ${keys.log}`, "it is of another type than a witness's (0x04)"],
  [`verify a --witness ${keys.node}`, "its name is that of a ledger's own node"],
  [`verify a --witness ${keys.changed}`, 'its id is not that of the key: a character is missing or was changed'],
  ['audit --url notaurl --genesis g', '--url takes a URL'],
  ['audit --url http://127.0.0.1:1', '--url needs --genesis'],
  ['audit --url http://127.0.0.1:1 --genesis g --storage x', '--storage takes a URL'],
  ['audit --url http://127.0.0.1:1 --genesis g --token t --token-file f', '--token or --token-file, not both'],
  ['dispute --out b --transaction zz', 'takes an id'],
  ['dispute --out b', 'needs --transaction or --grant'],
  ['recall healthblock-monitor', 'takes ALGORITHM@VERSION'],
  ['ledger token extra', 'needs no arguments'],
  ['ledger acknowledge accounting-0 ../../x', 'N is a number'],
  ['ledger receipt zz --out f', 'is not the id of a transaction'],
  ['storage status --url file:///etc --token-file t', '--url takes URLs'],
  ['ecg annotate', 'needs RECORD'],
  ['ecg --bogus', 'needs one of annotate'],
  ['score nosuch', 'needs one of news2'],
  ['bench nosuch', 'name one of'],
  ['bench growth --steps 100,10', '--steps takes ascending counts, not "100,10"'],
  ['bench growth --steps 10,1e3', '--steps takes a whole number from 1 to'],
  ['bench growth --nodes four', '--nodes takes a whole number from 1 to 16, not "four"'],
  ['bench ledger --steps 10', '--steps goes with growth, rotation, not with ledger'],
  ['bench crypto --nodes 1 --quick', '--nodes goes with growth, not with crypto'],
]

test.each(mistakes)('%s: %s', async (text, words) => {
  const { code, out, err } = await run(...line(text), '--json')
  expect([code, out]).toEqual([2, ''])
  expect(err).toContain(words)
  expect(err).not.toMatch(/^\s+at /m)
})

test.each(['sim', 'fuzz', 'storage', 'storage scrub', 'storage file', 'chaos', 'live'])(
  'test %s says how it is used, and takes no option that it does not know',
  async (what) => {
    const words = what.split(' ')
    expect(await run('test', ...words, '--help')).toMatchObject({ code: 0, out: expect.stringContaining('Usage:') })
    const { code, out, err } = await run('test', ...words, '--bogus')
    expect({ code, out }).toEqual({ code: 2, out: '' })
    // The simulator is a process of its own, whose stderr is the command's.
    if (what !== 'sim') expect(err).toContain('--bogus')
  },
)

test.each([
  'sim --seeds abc',
  'sim --seed=-1',
  'sim --profile nosuch',
  'storage --cycles many',
  'storage scrub --blocks 1e9',
  'storage file --mib -1',
])('test %s is no count, and nothing is tested', async (words) => {
  expect(await run('test', ...words.split(' '))).toMatchObject({ code: 2, out: '' })
})

test('test runs what it knows, and nothing for a name that it does not', async () => {
  expect(await run('test', 'nosuch')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('not "nosuch"') })
})

test.each(['up', 'down', 'status', 'audit', 'demo', 'patient list', 'ledger token'])(
  '%s --dir "" means no folder, least of all the present one',
  async (text) => {
    expect(await run(...line(text), '--dir', '')).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringContaining('--dir is empty'),
    })
  },
)

/** What cannot be done: DIR stands for a folder with an empty file in it, and no cluster. */
const failures: [string, RegExp][] = [
  ['status --dir DIR', /^there is no cluster in .*: make one with \.\/healthblock up --dir '.*'$/],
  ['down --dir DIR', /^there is no cluster in /],
  ['down --dir DIR/empty', /^.*empty\/cluster\.json: a part of the path is not a folder/],
  ['storage serve --standalone --dir DIR/empty', /^.*empty: a part of the path is not a folder \(ENOTDIR\)$/],
  ['patient list --dir DIR', /^there is no cluster in /],
  ['org show --dir DIR', /^there is no cluster in /],
  ['org sign DIR/none --key DIR/none --dir DIR', /^cannot read .*none: it does not exist \(ENOENT\)$/],
  ['org submit DIR/empty --dir DIR', /^.*empty: Unexpected end of JSON input$/],
  ['ledger token --dir DIR', /^there is no cluster in /],
  ['storage status --dir DIR', /^there is no cluster in /],
  [
    'audit --url http://127.0.0.1:1 --genesis DIR/empty --token-file DIR/none',
    /^cannot read .*none: it does not exist/,
  ],
  ['audit --url http://127.0.0.1:1 --genesis DIR/none', /^cannot read .*none: it does not exist \(ENOENT\)$/],
  ['audit --url http://127.0.0.1:1 --genesis DIR/empty', /^not a genesis file/],
  ['verify DIR/none', /^cannot read .*none: it does not exist \(ENOENT\)$/],
  ['verify DIR', /^cannot read .*: it is a folder \(EISDIR\)$/],
  ['verify DIR/empty --genesis DIR/empty', /^what is to be trusted cannot be: .*empty: not a genesis file/],
  ['verify DIR/empty --trust DIR/empty', /^what is to be trusted cannot be: .*empty: not a signed note/],
  ['verify DIR/empty --trust DIR/latin1', /^.*latin1 is not a text in UTF-8$/],
  ['audit --url http://127.0.0.1:1 --genesis DIR/empty --token-file DIR/latin1', /^.*latin1 is not a text in UTF-8$/],
  ['storage status --url http://127.0.0.1:1 --token-file DIR/none', /^cannot read .*none: it does not exist/],
  ['storage scrub --url http://127.0.0.1:1 --token-file DIR/empty', /^no storage node answers at http:/],
  ['ecg annotate DIR/none --out DIR/o', /^cannot read .*none\.hea \(ENOENT\)$/],
  ['demo --dir DIR/full', /^.* is not empty and holds no cluster \(unfinished\)/],
  ['demo --record DIR/none', /^there is no WFDB record .*none /],
  ['up --dir DIR/full', /^.* is not empty and holds no cluster \(unfinished\)/],
  ['up --dir DIR/empty/x', /^.*: a part of the path is not a folder \(ENOTDIR\)$/],
]

test.each(failures)('%s: exit 1, said as JSON and in words', async (text, words) => {
  // What is left behind in the folder for temporary ones is seen below.
  vi.stubEnv('TMPDIR', dir)
  onTestFinished(() => void vi.unstubAllEnvs())
  const { code, out, err } = await run(...line(text).map((word) => word.replace('DIR', dir)), '--json')
  expect(code).toBe(1)
  const { error } = JSON.parse(out) as { error: { message: string } }
  expect(error.message).toMatch(words)
  expect(err).toContain(error.message)
  expect(existsSync(join(dir, 'full', 'unfinished'))).toBe(true)
  expect(readdirSync(dir).sort()).toEqual(['empty', 'full', 'latin1'])
})

test('verify: what a file lacks is no error but a finding', async () => {
  const { code, out, err } = await run('verify', join(dir, 'empty'), '--json')
  expect([code, JSON.parse(out)]).toEqual([1, expect.objectContaining({ ok: false, kind: null, trust: 'embedded' })])
  expect(err).toContain('does not hold')
})

describe('a process', () => {
  const script = fileURLToPath(new URL('./main.ts', import.meta.url))
  const node = ['--disable-warning=ExperimentalWarning', script]

  test('takes an empty variable for one that is not set', () => {
    const told = (HEALTHBLOCK_DEBUG: string): string => {
      const env = { ...process.env, HEALTHBLOCK_DEBUG }
      return spawnSync(process.execPath, [...node, 'down', '--dir', join(dir, 'empty')], { env, encoding: 'utf8' })
        .stderr
    }
    expect(told('1')).toMatch(/^healthblock down: .*\n.*Error: /)
    expect(told('')).toMatch(/^healthblock down: .*\n$/)
  })

  test('whose reader leaves ends without a word', async () => {
    const child = spawn(process.execPath, [...node, 'score', 'qsofa'], { stdio: ['pipe', 'pipe', 'pipe'] })
    let told = ''
    child.stderr.on('data', (text: Buffer) => {
      told += String(text)
    })
    child.stdin.on('error', () => {})
    child.stdout.once('data', () => child.stdout.destroy())
    const feed = setInterval(() => child.stdin.write('{"respiratoryRate":18}\n'.repeat(2_000)), 5)
    const code = await new Promise((resolve) => child.once('close', resolve))
    clearInterval(feed)
    expect([code, told]).toEqual([1, ''])
  })

  test.skipIf(!existsSync('/dev/full'))('whose output cannot be written says so in one line', () => {
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', 'exec "$0" "$@" > /dev/full', process.execPath, ...node, 'help'],
      {
        encoding: 'utf8',
      },
    )
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^healthblock: the output cannot be written: ENOSPC.*\n$/),
    ])
  })

  test.skipIf(!existsSync('/dev/zero'))('does not read for ever', () => {
    const { status, stdout } = spawnSync(process.execPath, [...node, 'verify', '/dev/zero', '--json'], {
      encoding: 'utf8',
    })
    expect([status, stdout]).toEqual([1, expect.stringContaining('it is larger than')])
  })
})
