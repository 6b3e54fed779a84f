import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ledgerIdOf, rulesVersionNewest } from '@healthblock/chain/genesis'
import { encodeGovernArgument, type GovernArguments, governActs } from '@healthblock/chain/governing'
import { rankedNodes } from '@healthblock/chain/policy'
import { userTables } from '@healthblock/chain/tables'
import {
  encodeTransactionLeaf,
  type GovernBody,
  parseTransactionLeaf,
  signingMessage,
  transactionId,
} from '@healthblock/chain/transaction'
import { compareBytes, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '@healthblock/runtime/errors'
import { registerOrganisation } from '../cluster/enrol.ts'
import { clusterFolder } from '../cluster/layout.ts'
import { type Card, readCard, readKeyFile } from '../governance/card.ts'
import { changedPolicy, type PolicyChange } from '../governance/policy-change.ts'
import {
  checkProposal,
  type Proposal,
  previewLines,
  readProposal,
  signaturesNeeded,
  writeProposal,
} from '../governance/proposal.ts'
import { type GoverningState, organisationOf, rulesInForce, StateRecords } from '../governance/state.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { ledgerSubject, subjectHelp } from '../ledger-subject.ts'
import { parseCount, parseOptions, takePositionals, tellHelp } from '../options.ts'
import { runNode } from './org-node.ts'
import { changeLicence, listPeople } from './org-people.ts'
import { postSigned, rekey } from './org-rekey.ts'
import {
  type Governed,
  governing,
  need,
  nodeNamed,
  type OrgRequest,
  type OrgValues,
  organisationNamed,
  organisationWords,
  orgOptions,
} from './org-request.ts'

const help = `Usage: ./healthblock org ACTION …

What the organisations of a ledger decide together: two thirds of them sign one proposal with their root keys.

  show                              who governs, which nodes cosign, which rules are in force
  propose admit ORG --quota N --out FILE         a registered organisation joins
  propose remove ORG --out FILE                  an organisation without nodes and stores leaves
  propose policy --out FILE [--q N] [--add CARD]… [--replace CARD]… [--remove NODE]… [--remove-store STORE]…
                                                 nodes and stores join, leave, or get other keys
  propose quota ORG N --out FILE                 how many accounts an organisation may sponsor
  propose rules VERSION --height H --out FILE    the rules from a height of userchain on
  suspend NODE|STORE|ORG --out FILE              a proposal that takes a node or store, or all of an organisation's, out of the policy
  sign FILE --key ROOTKEYFILE [--yes]            shows what the proposal does, held against the ledger if it can be asked; with --yes signs it
  submit FILE                                    posts a proposal that enough have signed
  register FOLDER [--name NAME]                  makes the keys of a new organisation in FOLDER and registers it; others then admit it
  node NAME --organisation ORG --op-key FILE     makes secrets and card of a new accounting node of this cluster
  node STORE --organisation ORG                  makes secrets and card of a new storage node of this cluster
  node NAME --renew                              makes new secrets and a card for a node or store whose keys were lost or stolen
  node NAME --switch                             puts the new secrets in force: after the proposal is on record, before the restart
  node NAME --drop                               stops a node that was removed, and takes it out of this cluster's plan; its folder stays

What one organisation does alone:

  rekey --key ROOTKEYFILE --op-key NEWFILE
                                    replaces its op key, which lies at its nodes and is stolen with them; NEWFILE is made if it is
                                    not there. Its nodes of this cluster get it, and take it when they are started again

What its administrator does alone, at its accounting node of this cluster:

  people [TEXT]                     the cards of its people, whether they are on record, and their licences
  licence DOCTOR active|suspended|ended [--from ISO] [--until ISO]
                                    by the organisation that registered the doctor (default: for ten years from now)

ORG: an account, or organisation-N by its place in genesis. NODE: an account, a rank, or a name of this cluster (accounting-…).
STORE: an account, or a name of this cluster (storage-…).
A proposal names the lowest account of its signers; --signers ORG,ORG,… says who they will be (default: all who govern).
  --force         new keys or a removal although every node must sign (q = all of them); rules that this program does not know;
                  --switch although the proposal is not on record; --drop of a node that still cosigns, or if nobody can be asked
  --last N,N      with policy: the last sizes of userchain and docchain that replaced keys signed for their nodes (default: the
                  newest published ones)
Options: --dir DIR, --json
${subjectHelp}`

async function show({ values, rest, print }: OrgRequest): Promise<ExitCode> {
  takePositionals(rest, [])
  const { subject, state } = await governing(values)
  const { policy, organisations, rules, rulesFirst, n } = state
  const nodes = rankedNodes(policy).map(({ rank, account, org }) => ({
    rank,
    account: toHex(account),
    organisation: toHex(org),
  }))
  const value = {
    acts: n,
    policy: state.policyNumber,
    quorum: policy.q,
    nodes,
    stores: policy.stores.map(([org, account]) => ({ account: toHex(account), organisation: toHex(org) })),
    organisations: organisations.map(({ account, root }) => ({ account: toHex(account), root: toHex(root) })),
    rules: rules.map(({ version, from }) => ({ version, from })),
    rulesInForce: rulesInForce(state),
    height: state.height,
    size: state.size,
  }
  const words = [
    `${organisations.length} organisations govern (${signaturesNeeded(organisations.length)} sign an act); ${n} acts so far`,
    ...organisations.map(({ account }) => `  ${organisationWords(account, subject.genesis)}`),
    `policy ${state.policyNumber}: ${policy.q} of ${nodes.length} nodes cosign`,
    ...nodes.map(({ rank, account }) => `  node ${rank}  ${account}`),
    ...value.stores.map(({ account }) => `  store   ${account}`),
    `rules ${rulesFirst} from the beginning${rules.length === 0 ? ', in force' : ''}`,
    ...rules.map(({ version, from }) => {
      const inForce = version === rulesInForce(state) ? ', in force' : ''
      return `rules ${version} from height ${from}${inForce}`
    }),
  ]
  print(value, words.join('\n'))
  return 0
}

/** Writes a proposal for the next act. */
function propose<A extends keyof GovernArguments>(
  request: OrgRequest,
  { subject, state }: Governed,
  act: A,
  argument: GovernArguments[A],
): ExitCode {
  const { values, print } = request
  const out = resolve(need(values.out, 'out'))
  const named = values.signers?.split(',').map((name) => organisationNamed(name, subject.genesis))
  const signers = named ?? state.organisations.map(({ account }) => account)
  const needed = signaturesNeeded(state.organisations.length)
  if (signers.length < needed) throw new UsageError(`--signers names ${signers.length}; an act needs ${needed}`)
  const [a] = [...signers].sort(compareBytes) as [Uint8Array]
  const body: GovernBody = { v: 1, t: 'govern', a, act, arg: encodeGovernArgument(act, argument), n: state.n + 1 }
  const before = encodeCbor(state.policy as unknown as CborValue)
  const ledgerId = ledgerIdOf(subject.genesis)
  writeProposal(out, { ledgerId, body, organisations: state.organisations, before, signatures: [] })
  const preview = previewLines(readProposal(out))
  print(
    { file: out, act, n: body.n, signaturesNeeded: needed, mustSign: toHex(a), preview },
    [...preview, `written to ${out}; ${needed} must sign, among them ${organisationWords(a, subject.genesis)}`].join(
      '\n',
    ),
  )
  return 0
}

function policyChange(values: OrgValues, genesis: Uint8Array): PolicyChange {
  return {
    add: (values.add ?? []).map(readCard),
    replace: (values.replace ?? []).map(readCard),
    remove: (values.remove ?? []).map((name) => nodeNamed(name, values, genesis)),
    removeStores: (values['remove-store'] ?? []).map((name) => nodeNamed(name, values, genesis)),
    removeOrganisations: [],
    isForced: values.force === true,
    ...(values.q === undefined ? {} : { q: parseCount(values.q, 'q', { least: 1, most: 64, preset: 1 }) }),
    ...(values.last === undefined ? {} : { lastSizes: lastSizesOf(values.last) }),
  }
}

function lastSizesOf(text: string): [number, number] {
  const limits = { least: 0, most: Number.MAX_SAFE_INTEGER, preset: 0 }
  const sizes = text.split(',')
  if (sizes.length !== 2) throw new UsageError(`--last takes a size of each chain, as 1200,90, not "${text}"`)
  return sizes.map((size) => parseCount(size, 'last', limits)) as [number, number]
}

/** What the ledger would refuse is not worth anybody's signature. */
async function checkAdmission({ subject, state }: Governed, account: Uint8Array): Promise<void> {
  const name = toHex(account)
  if (state.organisations.some((one) => equalBytes(one.account, account)))
    throw new CommandError(`${name} governs already`)
  const records = new StateRecords(subject.client)
  const role = (await records.get<{ role: number }>(userTables.account.key(account)))?.role
  if (role === undefined)
    throw new CommandError(`${name} is not registered: "org register" makes its keys and does that`)
  if (role !== 3) throw new CommandError(`${name} is registered, and not as an organisation`)
  if ((await records.get(userTables.organisation.key(account))) !== undefined)
    throw new CommandError(`${name} was removed, and cannot come back: "org register" makes another account`)
}

/** Nodes and stores belong to organisations that govern. */
function checkCards({ state }: Governed, cards: readonly Card[]): void {
  const stranger = cards.find((card) => !state.organisations.some((one) => toHex(one.account) === card.organisation))
  if (stranger !== undefined)
    throw new CommandError(
      `${stranger.organisation}, of the card of ${stranger.account}, does not govern: "org propose admit" comes first`,
    )
}

function checkRemoval({ state }: Governed, account: Uint8Array): void {
  const name = toHex(account)
  if (!state.organisations.some((one) => equalBytes(one.account, account)))
    throw new CommandError(`${name} is no organisation that governs`)
  const nodes = rankedNodes(state.policy).filter(({ org }) => equalBytes(org, account))
  const stores = state.policy.stores.filter(([org]) => equalBytes(org, account))
  if (nodes.length + stores.length === 0) return
  const has = [...nodes.map(({ rank }) => `node ${rank}`), ...stores.map(([, store]) => `store ${toHex(store)}`)]
  throw new CommandError(`${name} still has ${has.join(', ')}: "org suspend ${name}" takes them out first`)
}

/** A version that its nodes do not know stops the ledger for good, and only that version could mend it. */
function checkRules({ state }: Governed, [version, from]: readonly [number, number], isForced: boolean): void {
  const newest = state.rules.at(-1) ?? { version: state.rulesFirst, from: 0 }
  if (version <= newest.version)
    throw new CommandError(`the rules are of version ${newest.version} already: a version never falls`)
  const least = Math.max(state.height + 2, newest.from)
  if (from < least)
    throw new CommandError(
      `userchain is at height ${state.height}: the rules can rise from height ${least} on, not ${from}`,
    )
  if (version > rulesVersionNewest && !isForced) {
    throw new CommandError(
      `this program knows the rules up to version ${rulesVersionNewest}, and every node like it would stop at height ${from}, for good: install a newer one first (--force proposes it all the same)`,
    )
  }
}

async function runPropose(request: OrgRequest): Promise<ExitCode> {
  const { values } = request
  const [what, ...rest] = request.rest
  const now = await governing(values)
  const { genesis } = now.subject
  switch (what) {
    case 'admit': {
      const [org] = takePositionals(rest, ['ORG'])
      const quota = parseCount(need(values.quota, 'quota'), 'quota', { least: 0, most: 1_000_000_000, preset: 0 })
      const account = organisationNamed(org, genesis)
      await checkAdmission(now, account)
      return propose(request, now, governActs.admit, [account, quota])
    }
    case 'remove': {
      const [org] = takePositionals(rest, ['ORG'])
      const account = organisationNamed(org, genesis)
      checkRemoval(now, account)
      return propose(request, now, governActs.remove, [account])
    }
    case 'policy': {
      takePositionals(rest, [])
      const change = policyChange(values, genesis)
      checkCards(now, change.add)
      return propose(request, now, governActs.policy, changedPolicy(now.state, change))
    }
    case 'quota': {
      const [org, maximum] = takePositionals(rest, ['ORG', 'N'])
      const quota = parseCount(maximum, 'quota', { least: 0, most: 1_000_000_000, preset: 0 })
      return propose(request, now, governActs.parameters, { quota: [[organisationNamed(org, genesis), quota]] })
    }
    case 'rules': {
      const [version] = takePositionals(rest, ['VERSION'])
      const limits = { least: 1, most: Number.MAX_SAFE_INTEGER, preset: 1 }
      const rules = [
        parseCount(version, 'rules', limits),
        parseCount(need(values.height, 'height'), 'height', limits),
      ] as const
      checkRules(now, rules, values.force === true)
      return propose(request, now, governActs.parameters, { quota: [], rules })
    }
    default:
      throw new UsageError(`proposes admit, remove, policy, quota or rules, not "${what ?? ''}"`)
  }
}

/** Removing the credentials of a bad node or store: nothing that it signs counts, and no peer listens to it. */
async function runSuspend(request: OrgRequest): Promise<ExitCode> {
  const [name] = takePositionals(request.rest, ['NODE, STORE or ORG'])
  const now = await governing(request.values)
  const { genesis } = now.subject
  const base = policyChange(request.values, genesis)
  const isOrganisation =
    name.startsWith('organisation-') || now.state.organisations.some(({ account }) => toHex(account) === name)
  const account = isOrganisation ? toHex(organisationNamed(name, genesis)) : nodeNamed(name, request.values, genesis)
  const isStore = now.state.policy.stores.some((store) => toHex(store[1]) === account)
  const what = isOrganisation ? 'removeOrganisations' : isStore ? 'removeStores' : 'remove'
  return propose(request, now, governActs.policy, changedPolicy(now.state, { ...base, [what]: [account] }))
}

/** Holds a proposal against the ledger, where there is one to be asked; a root key may be used on a machine without any. */
async function checkedWords(proposal: Proposal, values: OrgValues): Promise<string> {
  let state: GoverningState
  try {
    const found = await governing(values)
    if (!equalBytes(ledgerIdOf(found.subject.genesis), proposal.ledgerId))
      throw new CommandError('it is another ledger')
    state = found.state
  } catch (error) {
    if (!(error instanceof CommandError || error instanceof RuntimeError)) throw error
    return `NOT CHECKED against the ledger (${error.message}): what is marked as new, changed or gone is the proposer's word`
  }
  checkProposal(proposal, state)
  return 'checked against the ledger: the marks of what is new, changed or gone are right'
}

async function runSign({ values, rest, print, io }: OrgRequest): Promise<ExitCode> {
  const [file] = takePositionals(rest, ['FILE'])
  const proposal = readProposal(file)
  const preview = [...previewLines(proposal), await checkedWords(proposal, values)]
  const key = readKeyFile(need(values.key, 'key'))
  const { account } = organisationOf(proposal.organisations, key.publicKey)
  const needed = signaturesNeeded(proposal.organisations.length)
  if (values.yes !== true) {
    print(
      { signed: false, preview, as: toHex(account) },
      [...preview, `sign it as ${toHex(account)} with --yes`].join('\n'),
    )
    return 1
  }
  io.stderr(`${preview.join('\n')}\n`)
  const { ledgerId, bodyBytes } = proposal
  const signature = key.sign(signingMessage({ ledgerId, chain: 'userchain', bodyBytes }))
  const others = proposal.signatures.filter((one) => !equalBytes(one.account, account))
  const signatures = [...others, { account, signature }]
  writeProposal(file, { ...proposal, signatures })
  const count = signatures.length
  print(
    { signed: true, as: toHex(account), signatures: count, signaturesNeeded: needed, preview },
    `signed as ${toHex(account)}: ${count} of ${needed}`,
  )
  return 0
}

async function runSubmit({ values, rest, print }: OrgRequest): Promise<ExitCode> {
  const [file] = takePositionals(rest, ['FILE'])
  const { ledgerId, bodyBytes, signatures, organisations, body } = readProposal(file)
  const needed = signaturesNeeded(organisations.length)
  const hasLowest = signatures.some(({ account }) => equalBytes(account, body.a))
  if (signatures.length < needed || !hasLowest) {
    const lacking = `, and not yet ${organisationWords(body.a, ledgerSubject(values).genesis)}, in whose name it is (who cannot have it sign names the signers: "org propose … --signers ORG,ORG,…")`
    const words = `${signatures.length} signed, of the ${needed} that it needs${hasLowest ? '' : lacking}`
    throw new CommandError(words)
  }
  const leaf = encodeTransactionLeaf({ bodyBytes, signatures: signatures.map((one) => ({ ...one, key: 0 })) })
  parseTransactionLeaf(leaf)
  const id = transactionId({ ledgerId, chain: 'userchain', bodyBytes })
  const { index, height } = await postSigned(ledgerSubject(values), { id, leaf })
  print({ transactionId: toHex(id), index, height }, `on record at index ${index}`)
  return 0
}

async function runRegister({ values, rest, print }: OrgRequest): Promise<ExitCode> {
  const [folder] = takePositionals(rest, ['FOLDER'])
  const path = resolve(folder)
  if (existsSync(join(path, 'root.key'))) throw new CommandError(`${path} holds the keys of an organisation already`)
  const account = await registerOrganisation(clusterFolder(values.dir), path)
  print(
    { account, folder: path },
    `organisation ${account} is registered; its keys are in ${path}: keep root.key away from every node`,
  )
  return 0
}

async function runRekey({ values, rest, print }: OrgRequest): Promise<ExitCode> {
  takePositionals(rest, [])
  const files = { root: need(values.key, 'key'), next: resolve(need(values['op-key'], 'op-key')) }
  const done = await rekey(values, files)
  const others = `put ${files.next} among the secrets of its other nodes as organisation-op.key, and start them by ACCOUNTING_ACCOUNT and ACCOUNTING_ORGANISATION, not by ACCOUNTING_RANK`
  const start = done.nodes.map((name) => `"down --node ${name}"`).join(', ')
  print(
    { ...done, opKey: files.next },
    `organisation ${done.account} has another op key, on record ${done.index === undefined ? 'already' : `at index ${done.index}`}; ${start === '' ? others : `${start} and "up" let its nodes take it; ${others}`}`,
  )
  return 0
}

const actions: Readonly<Record<string, (request: OrgRequest) => Promise<ExitCode> | ExitCode>> = {
  show,
  propose: runPropose,
  suspend: runSuspend,
  sign: runSign,
  submit: runSubmit,
  register: runRegister,
  rekey: runRekey,
  node: runNode,
  people: ({ values, rest, print }) => listPeople(clusterFolder(values.dir), rest, print),
  licence: ({ values, rest, print }) => changeLicence(clusterFolder(values.dir), rest, values, print),
}

/** `./healthblock org …`. */
export async function runOrg(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, orgOptions)
  const [action, ...rest] = positionals
  if (values.help === true || action === undefined) return tellHelp(help, values.help === true, io)
  const run = Object.hasOwn(actions, action) ? actions[action] : undefined
  if (run === undefined) throw new UsageError(`there is no action "${action}"`)
  const print = (value: unknown, words: string): void =>
    io.stdout(values.json === true ? `${JSON.stringify(value)}\n` : `${words}\n`)
  return run({ values, rest, print, io })
}
