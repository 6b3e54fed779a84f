/** Settings and secrets of the process: read once, checked together, frozen. SPEC.md §5 lists every variable and file. */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { ChainName } from '@healthblock/chain/chains'
import { type Genesis, genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import type { GenesisNode } from '@healthblock/chain/transaction'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes, fromHex } from '@healthblock/encoding/bytes'
import {
  choice,
  type Environment,
  existingFile,
  integer,
  ledgerFile,
  optional,
  path,
  portalNames,
  readConfig,
  text,
  trustedProxies,
  type Values,
  webDir,
} from '@healthblock/runtime/config'
import { messageOf } from '@healthblock/runtime/errors'
import { logLevels } from '@healthblock/runtime/logger'
import { AccountingError } from './errors.ts'

const settings = {
  dir: path('ACCOUNTING_DIR', { description: 'folder of this node: its logs, promises, state; one process at a time' }),
  host: text('ACCOUNTING_HOST', { description: 'address to listen on', fallback: '127.0.0.1' }),
  port: integer('ACCOUNTING_PORT', {
    description: 'port to listen on; 0 lets the system choose (see address.json)',
    fallback: '0',
    min: 0,
    max: 65_535,
  }),
  rank: optional(
    integer('ACCOUNTING_RANK', {
      description: "this node's position in the genesis file's nodes, from 0; its keys are those that genesis lists",
      min: 0,
      max: 255,
    }),
  ),
  account: optional(
    text('ACCOUNTING_ACCOUNT', {
      description: 'account (hex) of a node that joined later, or whose keys were replaced; instead of ACCOUNTING_RANK',
      pattern: /^[0-9a-f]{64}$/,
    }),
  ),
  organisation: optional(
    text('ACCOUNTING_ORGANISATION', {
      description: 'account (hex) of the organisation whose node this is; with ACCOUNTING_ACCOUNT',
      pattern: /^[0-9a-f]{64}$/,
    }),
  ),
  genesisFile: optional(
    existingFile('ACCOUNTING_GENESIS_FILE', {
      description: 'the genesis file; by default genesis.cbor in ACCOUNTING_DIR. Kept there after the first start',
    }),
  ),
  peersFile: path('ACCOUNTING_PEERS_FILE', {
    description: 'JSON list of {"rank", "url"} of all accounting nodes; read again whenever it changes',
  }),
  ledgerFile: optional(
    ledgerFile('ACCOUNTING_LEDGER_FILE', {
      description: 'JSON file {genesis, accounting, storage}: where storage nodes are, for audits and the portal only',
    }),
  ),
  secretsDir: optional(
    path('ACCOUNTING_SECRETS_DIR', {
      description: 'folder of the secret files; by default secrets/ in ACCOUNTING_DIR',
    }),
  ),
  redisUrl: text('REDIS_URL', {
    description: 'Redis of the intake queue; it may be wiped at any moment',
    fallback: 'redis://127.0.0.1:6379',
    pattern: /^rediss?:\/\/\S+$/,
  }),
  queuePrefix: text('ACCOUNTING_QUEUE_PREFIX', {
    description: 'prefix of the queues in Redis, equal for all nodes of a ledger and different for each ledger',
    fallback: 'hb',
    pattern: /^[A-Za-z0-9_-]{1,64}$/,
  }),
  register: text('ACCOUNTING_REGISTER', {
    description:
      'the head register: sqlite:PATH, one file that all nodes of this host share, or etcd:URL,URL of members',
    pattern: /^(sqlite:.+|etcd:https?:\/\/[^\s,]+(,https?:\/\/[^\s,]+)*)$/,
  }),
  etcdUser: optional(
    text('ACCOUNTING_ETCD_USER', {
      description: 'user at etcd, whose password is etcd.password among the secrets; by default accounting-RANK',
      pattern: /^[A-Za-z0-9._-]{1,64}$/,
    }),
  ),
  webDir: webDir(),
  trustedProxies: trustedProxies(),
  portalNames: portalNames(),
  cores: integer('ACCOUNTING_CORES', {
    description: 'processor cores that this node may count on; fewer than the machine has where several nodes share it',
    fallback: String(availableParallelism()),
    min: 1,
    max: 4_096,
  }),
  logLevel: choice('ACCOUNTING_LOG_LEVEL', {
    description: 'least level that is logged',
    fallback: 'info',
    of: logLevels,
  }),
  faultCensor: optional(
    text('ACCOUNTING_FAULT_CENSOR', {
      description:
        'for demonstrations and tests only: as leader, leave out transactions of these accounts (hex, commas)',
      pattern: /^[0-9a-f]{64}(,[0-9a-f]{64})*$/,
    }),
  ),
  faultClockMs: integer('ACCOUNTING_FAULT_CLOCK_MS', {
    description: 'for tests only: this many milliseconds are added to the clock',
    fallback: '0',
    min: -1_000_000_000_000,
    max: 1_000_000_000_000,
  }),
} as const

/** Settings of the process, without secrets: may be logged. */
export type AccountingSettings = Values<typeof settings>

/** The log key (0x01) and the cosigner key (0x04) of one chain. */
export interface ChainKeys {
  readonly log: SigningKey
  readonly cosigner: SigningKey
}

/** Secrets of the process, from the files of `ACCOUNTING_SECRETS_DIR`. */
export interface AccountingSecrets {
  /** Signs stage-acks, promises, refusals, deferrals, incidents and tokens to peers. */
  readonly node: SigningKey
  readonly chains: Readonly<Record<ChainName, ChainKeys>>
  /** Operational key of the organisation whose node this is: sponsors, licences, algorithms. */
  readonly organisationOp: SigningKey
  /** Bearer of administrators. */
  readonly admin: string
  /** Credentials at etcd, as far as there are files of them. */
  readonly etcd: EtcdSecrets
}

/** Files for an etcd register: a password if etcd asks for users; PEM texts for https. */
export interface EtcdSecrets {
  readonly password: string | undefined
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined
}

/** Everything that a node is started with. */
export interface AccountingConfig {
  readonly settings: AccountingSettings
  readonly secrets: AccountingSecrets
  readonly genesis: Genesis
  /** Account of this node, and of the organisation whose node it is. */
  readonly account: Uint8Array
  readonly organisation: Uint8Array
  /** For logs: `accounting-` and the rank in genesis, or the beginning of the account. */
  readonly name: string
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'cannot be read'
    throw new AccountingError(`the secret file ${file}: ${reason}`, { code: 'ERR_SECRET_INVALID', path: file, reason })
  }
}

function readKey(file: string): SigningKey {
  const seed = readText(file)
  if (!/^[0-9a-f]{64}$/.test(seed)) {
    const reason = 'must hold a 32-byte seed as 64 lower-case hexadecimal characters'
    throw new AccountingError(`the secret file ${file} ${reason}`, { code: 'ERR_SECRET_INVALID', path: file, reason })
  }
  return signingKeyFromSeed(fromHex(seed))
}

function readSecrets(dir: string): AccountingSecrets {
  const key = (name: string): SigningKey => readKey(join(dir, name))
  const admin = readText(join(dir, 'admin.secret'))
  if (admin.length < 32) {
    const file = join(dir, 'admin.secret')
    const reason = 'must hold at least 32 characters'
    throw new AccountingError(`the secret file ${file} ${reason}`, { code: 'ERR_SECRET_INVALID', path: file, reason })
  }
  return Object.freeze({
    node: key('node.key'),
    chains: {
      userchain: { log: key('userchain-log.key'), cosigner: key('userchain-cosigner.key') },
      docchain: { log: key('docchain-log.key'), cosigner: key('docchain-cosigner.key') },
    },
    organisationOp: key('organisation-op.key'),
    admin,
    etcd: readEtcdSecrets(dir),
  })
}

function readEtcdSecrets(dir: string): EtcdSecrets {
  const read = (name: string): string | undefined => {
    const file = join(dir, name)
    return existsSync(file) ? readText(file) : undefined
  }
  const [ca, cert, key] = ['etcd-ca.pem', 'etcd-client.pem', 'etcd-client.key'].map(read)
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
  return { password: read('etcd.password'), tls: Object.keys(tls).length > 0 ? tls : undefined }
}

function readGenesis(file: string): Genesis {
  if (!existsSync(file)) {
    const reason = `there is no genesis file at ${file}: a ledger is made by "healthblock ledger init", never by a start`
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
  }
  const bytes = new Uint8Array(readFileSync(file))
  try {
    return parseGenesis(bytes)
  } catch (cause) {
    const reason = `${file}: ${messageOf(cause)}`
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason }, { cause })
  }
}

function checkKeys(genesis: Genesis, rank: number, secrets: AccountingSecrets): void {
  const entry = genesis.body.nodes[rank]
  const fault = (reason: string): AccountingError =>
    new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
  if (entry === undefined)
    throw fault(`ACCOUNTING_RANK ${rank}: the genesis file lists ${genesis.body.nodes.length} nodes`)
  const [org, node, ulog, ucos, dlog, dcos] = entry
  const { userchain, docchain } = secrets.chains
  const pairs: [string, SigningKey, Uint8Array][] = [
    ['node.key', secrets.node, node],
    ['userchain-log.key', userchain.log, ulog],
    ['userchain-cosigner.key', userchain.cosigner, ucos],
    ['docchain-log.key', docchain.log, dlog],
    ['docchain-cosigner.key', docchain.cosigner, dcos],
    ['organisation-op.key', secrets.organisationOp, (genesis.body.orgs[org] as Genesis['body']['orgs'][number])[1]],
  ]
  for (const [name, key, expected] of pairs) {
    if (!equalBytes(key.publicKey, expected)) throw fault(`${name} is not the key that genesis lists for rank ${rank}`)
  }
}

/** Who this node is: by its rank in genesis, whose keys it must then hold, or by its account, whose keys the ledger knows. */
function identityOf(
  settings: AccountingSettings,
  secrets: AccountingSecrets,
  genesis: Genesis,
): Pick<AccountingConfig, 'account' | 'organisation' | 'name'> {
  const { rank, account, organisation } = settings
  if (account !== undefined && organisation !== undefined && rank === undefined) {
    return {
      account: fromHex(account),
      organisation: fromHex(organisation),
      name: `accounting-${account.slice(0, 8)}`,
    }
  }
  if (rank === undefined || account !== undefined || organisation !== undefined) {
    const reason = 'give either ACCOUNTING_RANK, or ACCOUNTING_ACCOUNT and ACCOUNTING_ORGANISATION'
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
  }
  checkKeys(genesis, rank, secrets)
  const accounts = genesisAccounts(genesis)
  const [org] = genesis.body.nodes[rank] as GenesisNode
  return {
    account: accounts.nodes[rank] as Uint8Array,
    organisation: accounts.organisations[org] as Uint8Array,
    name: `accounting-${rank}`,
  }
}

/**
 * Reads everything that a node is started with. A node that names its rank must have the keys that genesis lists for it; the keys of one
 * that names its account are compared with the policy in force while it runs.
 *
 * @param environment - `process.env`.
 * @throws {RuntimeError} `ERR_CONFIG_INVALID` with every faulty variable.
 * @throws {AccountingError} `ERR_SECRET_INVALID`, `ERR_GENESIS_INVALID`.
 */
export function readAccountingConfig(environment: Environment): AccountingConfig {
  const read = readConfig(environment, { settings, secrets: {} })
  const { dir } = read.settings
  const secrets = readSecrets(read.settings.secretsDir ?? join(dir, 'secrets'))
  const genesis = readGenesis(read.settings.genesisFile ?? join(dir, 'genesis.cbor'))
  return Object.freeze({
    settings: read.settings,
    secrets,
    genesis,
    ...identityOf(read.settings, secrets, genesis),
  })
}
