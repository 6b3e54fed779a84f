/** What a node answers at all, by its own description: so that a test of who is let in forgets no route that is added. */

/** As much of a JSON schema as the routes use. */
interface Schema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly minItems?: number
  readonly minLength?: number
  readonly minimum?: number
  readonly pattern?: string
}

interface Operation {
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema?: Schema }[]
  readonly requestBody?: { content?: Readonly<Record<string, { schema?: Schema }>> }
}

/** A route, and a request to it that its schema lets pass. */
export interface Route {
  /** `POST /v1/people/{p}/grants` */
  readonly name: string
  readonly method: string
  readonly path: string
  readonly body?: unknown
}

/** Something that a schema lets pass; strings with a pattern are 64 hex digits. */
function sampleOf(schema: Schema | undefined): unknown {
  if (schema === undefined) return {}
  const first = schema.const ?? schema.enum?.[0]
  if (first !== undefined) return first
  const choice = schema.anyOf?.[0] ?? schema.oneOf?.[0]
  if (choice !== undefined) return sampleOf({ ...schema, anyOf: undefined, oneOf: undefined, ...choice } as Schema)
  switch (typeof schema.type === 'string' ? schema.type : schema.type?.[0]) {
    case 'string':
      if (schema.pattern?.includes('\\d{6}') === true) return '123456'
      return schema.pattern === undefined ? 'x'.repeat(Math.max(1, schema.minLength ?? 1)) : 'ab'.repeat(32)
    case 'integer':
    case 'number':
      return Math.max(1, schema.minimum ?? 1)
    case 'boolean':
      return true
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => sampleOf(schema.items))
    default:
      return Object.fromEntries((schema.required ?? []).map((name) => [name, sampleOf(schema.properties?.[name])]))
  }
}

function fillPath(path: string, operation: Operation, values: Readonly<Record<string, string>>): string {
  const parameters = operation.parameters ?? []
  const schemaOf = (name: string): Schema | undefined => parameters.find((one) => one.name === name)?.schema
  const filled = path.replaceAll(
    /\{(\w+)\}/g,
    (_whole, name: string) => values[name] ?? String(sampleOf(schemaOf(name))),
  )
  const query = parameters
    .filter((one) => one.in === 'query' && one.required === true)
    .map(({ name, schema }) => `${name}=${encodeURIComponent(String(sampleOf(schema)))}`)
  return query.length === 0 ? filled : `${filled}?${query.join('&')}`
}

/** Every route that a node describes, with `values` for the parts of paths. */
export async function routesOf(url: string, values: Readonly<Record<string, string>> = {}): Promise<Route[]> {
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  }
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([verb, operation]) => {
      const content = Object.entries(operation.requestBody?.content ?? {})[0]
      const method = verb.toUpperCase()
      return {
        ...{ name: `${method} ${path}`, method, path: fillPath(path, operation, values) },
        ...(content === undefined ? {} : { body: sampleOf(content[1].schema) }),
      }
    }),
  )
}

/** How somebody asks: the status of the answer, which is not read to its end. */
export type Ask = (route: Route) => Promise<number>

/** Asks a node with these headers. */
export function asking(url: string, headers: Readonly<Record<string, string>> = {}): Ask {
  return async ({ method, path, body }) => {
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    const response = await fetch(`${url}${path}`, {
      ...{ method, headers: { ...headers, ...type } },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    await response.body?.cancel()
    return response.status
  }
}

/** Logs somebody in as a browser does, and gives the headers of the session. */
export async function sessionHeaders(
  url: string,
  login: { readonly name: string; readonly passphrase: string },
): Promise<Readonly<Record<string, string>>> {
  const response = await fetch(`${url}/portal/login`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(login) },
  })
  const { csrf } = (await response.json()) as { csrf: string }
  const cookie = response.headers.getSetCookie().map((one) => one.split(';', 1)[0])
  return { cookie: cookie.join('; '), 'x-csrf-token': csrf }
}
