/**
 * What must be in place before the nodes' code is loaded. Imported for its effect, by `main.ts` alone.
 *
 * Two hooks on module loading: the cryptographic provider is the simulator's (same results, no thread pool, cheap signatures for the
 * nodes' own keys), and a module whose address carries `?variant=NAME` is loaded with the changes of that variant, as is whatever it
 * imports from the rooms that the variant changes: several builds of one node live in one process. Production sources know nothing
 * of it.
 */
import { existsSync } from 'node:fs'
import { registerHooks } from 'node:module'
import type { SourceChange } from './source-change.ts'
import { changesOf } from './variants.ts'

const provider = new URL('provider.ts', import.meta.url).href
/** Rooms whose sources variants may change. */
const rooms: Readonly<Record<string, string>> = {
  'accounting-node': new URL('../../services/accounting-node/src/', import.meta.url).href,
  chain: new URL('../../packages/chain/src/', import.meta.url).href,
}
/** Files whose classes are compared by identity across builds. */
const sharedFile = /\/(errors|ports|outbox)\.ts$/

function variantOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : (new URL(url).searchParams.get('variant') ?? undefined)
}

/** Where a file of a variant lies. */
function addressOf({ file }: SourceChange): string {
  const [room = '', ...rest] = file.split('/')
  return `${rooms[room]}${rest.join('/')}`
}

const checked = new Set<string>()

/** A change of a file that is not there changes nothing, and would look like a fault that nobody found. */
function requireFiles(variant: string): void {
  if (checked.has(variant)) return
  checked.add(variant)
  for (const change of changesOf(variant)) {
    if (!existsSync(new URL(addressOf(change)))) throw new Error(`variant ${variant}: there is no ${change.file}`)
  }
}

/** True if a build has its own copy of a module: of the accounting node's always, of another room's if the variant changes it. */
function isOwn(url: string, variant: string): boolean {
  const changes = changesOf(variant)
  return Object.entries(rooms).some(([room, folder]) => {
    if (!url.startsWith(folder)) return false
    const isChanged = changes.some(({ file }) => file.startsWith(`${room}/`))
    return (
      (room === 'accounting-node' || isChanged) && (!sharedFile.test(url) || changes.some((c) => addressOf(c) === url))
    )
  })
}

/** A source with the changes of a variant; each must fit exactly once. */
function changed(source: string, address: string, variant: string): string {
  let text = source
  for (const change of changesOf(variant)) {
    if (addressOf(change) !== address) continue
    const count = text.split(change.from).length - 1
    if (count !== 1) throw new Error(`variant ${variant}: ${count} times in ${change.file}: ${change.from}`)
    text = text.replace(change.from, () => change.to)
  }
  return text
}

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === '#provider') return { url: provider, shortCircuit: true }
    const found = next(specifier, context)
    const variant = variantOf(context.parentURL)
    return variant === undefined || !isOwn(found.url, variant)
      ? found
      : { ...found, url: `${found.url}?variant=${variant}` }
  },
  load(address, context, next) {
    const variant = variantOf(address)
    const loaded = next(address, context)
    if (variant === undefined || loaded.source === undefined || loaded.source === null) return loaded
    requireFiles(variant)
    const source = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    return { ...loaded, source: changed(source, address.slice(0, address.indexOf('?')), variant) }
  },
})
