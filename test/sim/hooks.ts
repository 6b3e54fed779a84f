/**
 * What must be in place before the nodes' code is loaded. Imported for its effect, by `main.ts` alone.
 *
 * Two hooks on module loading: the cryptographic provider is the simulator's (same results, no thread pool, cheap signatures for the
 * nodes' own keys), and a module whose address carries `?variant=NAME` is loaded with the changes of that variant, as is whatever it
 * imports from the accounting node: several builds of one node live in one process. Production sources know nothing of it.
 */
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { changesOf } from './variants.ts'

const provider = new URL('provider.ts', import.meta.url).href
const node = new URL('../../services/accounting-node/src/', import.meta.url).href
/** Classes that are compared by identity across builds. */
const shared = new Set(['errors.ts', 'core/ports.ts'].map((path) => `${node}${path}`))

function variantOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : (new URL(url).searchParams.get('variant') ?? undefined)
}

/** A source with the changes of a variant; each must fit exactly once. */
function changed(source: string, url: URL, variant: string): string {
  let text = source
  for (const { file, from, to } of changesOf(variant)) {
    if (`${node}${file}` !== `${url.origin === 'null' ? 'file://' : ''}${url.pathname}`) continue
    if (text.split(from).length !== 2) {
      throw new Error(`variant ${variant}: not once in ${file}: ${from}`)
    }
    text = text.replace(from, () => to)
  }
  return text
}

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === '#provider') return { url: provider, shortCircuit: true }
    const found = next(specifier, context)
    const variant = variantOf(context.parentURL)
    if (variant === undefined || !found.url.startsWith(node) || shared.has(found.url)) return found
    return { ...found, url: `${found.url}?variant=${variant}` }
  },
  load(address, context, next) {
    const variant = variantOf(address)
    const loaded = next(address, context)
    if (variant === undefined || loaded.source === undefined || loaded.source === null) return loaded
    const source = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    return { ...loaded, source: changed(source, new URL(address), variant) }
  },
})

/** Path of the accounting node's sources, for messages. */
export const nodeSources = fileURLToPath(node)
