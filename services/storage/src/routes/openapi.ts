/** What this service answers, as an OpenAPI document: made from the routes themselves, so that it cannot say less or more. */
import type { FastifyInstance, RouteOptions } from 'fastify'

/** A JSON schema of an object. */
interface ObjectSchema {
  readonly properties?: Readonly<Record<string, object>>
  readonly required?: readonly string[]
}

/** What a route says of itself. */
interface RouteSchema {
  readonly querystring?: ObjectSchema
  readonly params?: ObjectSchema
  readonly body?: object
  /** Media types of a body that no schema describes. */
  readonly consumes?: readonly string[]
}

const version = '0.1.0'

function parametersOf(place: 'query' | 'path', { properties = {}, required = [] }: ObjectSchema): object[] {
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema,
  }))
}

/** The names in a path: all text. */
function namesOf(path: string): ObjectSchema {
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name as string)
  return { properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) }
}

function operationOf({ url, schema = {} }: RouteOptions): object {
  const { querystring = {}, params = namesOf(url), body, consumes = [] } = schema as RouteSchema
  const content = body
    ? { 'application/json': { schema: body } }
    : Object.fromEntries(consumes.map((type) => [type, {}]))
  return {
    parameters: [...parametersOf('path', params), ...parametersOf('query', querystring)],
    ...(Object.keys(content).length === 0 ? {} : { requestBody: { required: true, content } }),
    security: [{ bearer: [] }],
    responses: { default: { description: 'SPEC.md §5' } },
  }
}

/**
 * Adds `GET /openapi.json`, which describes every route that is added after this call.
 *
 * @param hidden - paths that are left out: they need no token, and are the same at every service.
 */
export function addDescription(app: FastifyInstance, hidden: ReadonlySet<string>): void {
  const paths: Record<string, Record<string, object>> = {}
  app.addHook('onRoute', (route) => {
    if (hidden.has(route.url)) return
    const path = route.url.replace(/:(\w+)/g, '{$1}')
    for (const method of [route.method].flat()) {
      if (method === 'HEAD') continue
      paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(route) }
    }
  })
  const components = { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } }
  app.get('/openapi.json', async () => ({ openapi: '3.1.0', info: { title: 'storage', version }, paths, components }))
}
