/** A registration as a person's own node makes it: body first, then the organisation's signature, then the ledger. */
import { readFileSync } from 'node:fs'
import { genesisAccounts, ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { encodeBody, encodeTransactionLeaf, signingMessage, transactionId } from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import type { TestCluster } from '../support/cluster.ts'

const roleGuardian = 5

/** A guardian's registration at the first organisation of a cluster; `submit` puts it on record with the sponsor's signature (base64). */
export function newRegistration(cluster: TestCluster): {
  body: string
  submit: (url: string, signature: string) => Promise<void>
} {
  const genesis = new Uint8Array(readFileSync(clusterPaths.genesis(cluster.dir)))
  const sponsor = genesisAccounts(parseGenesis(genesis)).organisations[0] as Uint8Array
  const [root, op] = [generateSigningKey(), generateSigningKey()]
  const bodyBytes = encodeBody({
    ...{ v: 1, t: 'register', role: roleGuardian, root: root.publicKey, op: op.publicKey, sponsor },
    ...{ kem: generateKemKeyPair().publicKey, suite: kemSuiteDefault, salt: randomBytes(16) },
  })
  const place = { ledgerId: ledgerIdOf(genesis), chain: 'userchain', bodyBytes } as const
  const account = transactionId(place)
  const message = signingMessage(place)
  return {
    body: toBase64(bodyBytes),
    async submit(url, signature) {
      const signatures = [
        { account, key: 0, signature: root.sign(message) },
        { account, key: 1, signature: op.sign(message) },
        { account: sponsor, key: 1, signature: fromBase64(signature) },
      ]
      const response = await fetch(`${url}/v1/userchain/transactions`, {
        method: 'POST',
        headers: { 'content-type': 'application/cbor-seq' },
        body: encodeTransactionLeaf({ bodyBytes, signatures }),
      })
      if (!response.ok) throw new Error(`the registration was refused: HTTP ${response.status}`)
    },
  }
}
