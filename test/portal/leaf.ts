/** Reads a leaf as an accounting node serves it. */
import { leafKind, parseTransactionLeaf, type TransactionType } from '@healthblock/chain/transaction'
import { decodeCborAt } from '@healthblock/encoding/cbor'

/** The first leaf of a type on Userchain, with its index. */
export async function leafOf(
  url: string,
  token: string,
  type: TransactionType,
): Promise<{ index: number; leaf: Uint8Array }> {
  const response = await fetch(`${url}/v1/userchain/blocks?from=0`, { headers: { authorization: `Bearer ${token}` } })
  const bytes = new Uint8Array(await response.arrayBuffer())
  for (let offset = 0; offset < bytes.length; ) {
    const { value, end } = decodeCborAt(bytes, offset)
    const [, first, leaves] = value as unknown as [number, number, Uint8Array[]]
    for (const [at, leaf] of leaves.entries()) {
      if (leafKind(leaf) === 'transaction' && parseTransactionLeaf(leaf).body.t === type) {
        return { index: first + at, leaf: Uint8Array.from(leaf) }
      }
    }
    offset = end
  }
  throw new Error(`there is no ${type} on Userchain`)
}
