/** A method that an address does not take is told so, with those that it takes (RFC 9110 §15.5.6). */
import type { FastifyInstance, HTTPMethods } from 'fastify'

interface KnownRoute {
  readonly pattern: RegExp
  readonly methods: readonly string[]
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** Turns a route's address into a pattern of addresses: `:name` is one part, `*` everything that follows. */
function patternOf(url: string): RegExp {
  const parts = url.split('/').map((part) => (part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : literal(part)))
  return new RegExp(`^${parts.join('/')}$`)
}

/** Notes each route that is added from now on; what it returns names the methods that an address takes, none for one that is not here. */
export function noteMethods(app: FastifyInstance): (url: string) => readonly string[] {
  const routes: KnownRoute[] = []
  app.addHook('onRoute', ({ url, method }: { url: string; method: HTTPMethods | HTTPMethods[] }) => {
    routes.push({ pattern: patternOf(url), methods: [method].flat() })
  })
  return (url) => {
    const path = url.split('?', 1)[0] as string
    const found = routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods)
    return [...new Set(found)].sort()
  }
}
