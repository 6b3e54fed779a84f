/** Settings of a store of blocks. */
export interface BlockStoreOptions {
  /** Path of the SQLite file; made if it is missing. */
  path: string
  /** 32-byte key for blocks at rest. */
  key: Uint8Array
  /** Bytes of all blocks together. */
  bytesMax: number
  /** Bytes that one account may reference, those of its rows among them. */
  accountBytesMax: number
  /** This node's store account: named in the incidents that it reports of itself. */
  node: Uint8Array
  /** True if the bytes are kept elsewhere: the file then holds everything but them. */
  isExternal?: boolean
  /** Bytes that are free on the disk; by default the disk of `path` is asked. */
  bytesFree?: () => number
  /** Unix ms. */
  now: () => number
  /** Called once for each block that was found damaged, after it was set aside. */
  onCorrupt: (digest: Uint8Array) => void
  /** Called if nothing can be written any more. */
  onFatal: (error: Error) => void
}
