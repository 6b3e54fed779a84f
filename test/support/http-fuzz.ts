/**
 * Requests that no good client sends, to every route that a service describes in its OpenAPI document: odd values, broken
 * bodies, wrong types, no or wrong credentials. Whatever they are, the answer must be a typed refusal, soon, and no fault of the service.
 */
import { encodeCbor } from '@healthblock/encoding/cbor'
import { fuzzMs, fuzzSeed } from './fuzz.ts'
import { mutate, Random } from './mutate.ts'

/** A service to be asked. */
export interface HttpTarget {
  readonly url: string
  /** Credentials that are good, one of which may be used for a request. */
  readonly bearers: readonly string[]
  /** Texts that mean something to the service: ids, names. */
  readonly words: readonly string[]
  /** Routes (method and path) that are left out, because they answer when they please. */
  readonly except?: readonly string[]
  /** Bodies of other types than JSON that are good. */
  readonly bodies?: readonly { readonly type: string; readonly bytes: Uint8Array }[]
}

/** A route, with what it takes. */
export interface Route {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}
interface Operation {
  readonly parameters?: readonly { name: string; in: string; schema?: Schema }[]
  readonly requestBody?: { content?: Record<string, { schema?: Schema }> }
}
interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: Record<string, Schema>
  readonly items?: Schema
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly pattern?: string
  readonly maximum?: number
}

const patienceMs = 4_000
/** Faults of others, and a machine that is full or busy, are told by these. */
const allowedStatuses = [503, 504, 507]

const oddValues: readonly unknown[] = [
  ...[
    null,
    '',
    0,
    -1,
    0.5,
    1e308,
    2 ** 53,
    -(2 ** 31),
    true,
    [],
    {},
    [[[[[]]]]],
    'x'.repeat(3_000),
    '\u0000',
    '\ud800',
  ],
  ...['../../etc/passwd', '__proto__', 'constructor', '0'.repeat(64), 'f'.repeat(32), '\u202e%00', ' ', '1e400', 'NaN'],
  ...[{ length: 5 }, { toString: 1 }, JSON.parse('{"__proto__": {"x": 1}}'), '2026-02-30T00:00:00Z', 'Infinity'],
]

function valueFor(random: Random, schema: Schema | undefined, words: readonly string[], depth = 0): unknown {
  if (schema === undefined || depth > 5 || random.below(6) === 0) return random.pick(oddValues)
  if (schema.anyOf !== undefined) return valueFor(random, random.pick(schema.anyOf), words, depth + 1)
  if (schema.enum !== undefined) return random.pick(schema.enum)
  switch (typeof schema.type === 'string' ? schema.type : schema.type?.[0]) {
    case 'object': {
      const made: Record<string, unknown> = {}
      for (const [name, inner] of Object.entries(schema.properties ?? {})) {
        if (random.below(10) > 0) made[name] = valueFor(random, inner, words, depth + 1)
      }
      if (random.below(12) === 0) made[random.pick(['extra', '__proto__', 'constructor'])] = random.pick(oddValues)
      return made
    }
    case 'array':
      return Array.from({ length: random.below(5) }, () => valueFor(random, schema.items, words, depth + 1))
    case 'integer':
    case 'number':
      return random.pick([0, 1, 2, 7, 15, 16, 1_000, Date.now(), 2 ** 40, 2 ** 53 - 1, 2 ** 53, 1e21, 1e300, -1, 0.1])
    case 'boolean':
      return random.below(2) === 0
    default:
      if (schema.pattern?.includes('{64}') === true && random.below(2) === 0) return 'ab'.repeat(32)
      if (schema.pattern?.includes('{32}') === true && random.below(2) === 0) return 'ab'.repeat(16)
      return random.pick(words)
  }
}

interface Shot {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly body?: Uint8Array | string
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : JSON.stringify(value)
}

function bodyOf(random: Random, target: HttpTarget, operation: Operation): { type: string; body: Uint8Array | string } {
  const [schema] = Object.values(operation.requestBody?.content ?? {})
  const json = JSON.stringify(valueFor(random, schema?.schema, target.words)) ?? ''
  const others = target.bodies ?? []
  switch (random.below(9)) {
    case 0:
      return { type: 'application/json', body: json.slice(0, random.below(json.length + 1)) }
    case 1:
      return { type: 'application/json', body: mutate(random, [Buffer.from(json)]) }
    case 2:
      return {
        type: random.pick(['text/plain', 'application/xml', 'x', 'application/json; charset=utf-7']),
        body: json,
      }
    case 3:
      return { type: 'application/cbor', body: mutate(random, [encodeCbor({ txs: [new Uint8Array(32)], waitms: 1 })]) }
    case 4:
    case 5: {
      if (others.length === 0) return { type: 'application/octet-stream', body: random.bytes(random.below(300)) }
      const { type, bytes } = random.pick(others)
      return { type, body: random.below(5) === 0 ? bytes : mutate(random, [bytes]) }
    }
    default:
      return { type: 'application/json', body: json }
  }
}

function shotOf(random: Random, target: HttpTarget, route: Route): Shot {
  const { method, operation } = route
  let { path } = route
  const query = new URLSearchParams()
  for (const name of path.matchAll(/\{([^}]+)\}/g)) {
    const value = random.below(4) === 0 ? random.pick(oddValues) : random.pick(target.words)
    path = path.replace(name[0], encodeURIComponent(textOf(value)).slice(0, 600))
  }
  for (const { name, in: where, schema } of operation.parameters ?? []) {
    if (where === 'query' && random.below(3) > 0)
      query.append(name, textOf(valueFor(random, schema, target.words)).slice(0, 500))
  }
  if (random.below(10) === 0)
    query.append(random.pick(['from', 'limit', 'arg', 'x']), textOf(random.pick(oddValues)).slice(0, 500))
  const headers: Record<string, string> = {}
  const bearer = random.pick([
    ...target.bearers,
    ...target.bearers,
    ...target.bearers,
    '',
    'nothing',
    'x'.repeat(3_000),
  ])
  if (bearer !== '') headers.authorization = random.below(30) === 0 ? 'Basic eDp5' : `Bearer ${bearer}`
  const address = query.size === 0 ? path : `${path}?${query}`
  if (method === 'GET' || random.below(20) === 0) return { method, path: address, headers }
  const { type, body } = bodyOf(random, target, operation)
  return { method, path: address, headers: { ...headers, 'content-type': type }, body }
}

async function fire(target: HttpTarget, shot: Shot): Promise<void> {
  const { method, path, headers, body } = shot
  let response: Response
  let text = ''
  try {
    const init = { method, headers, signal: AbortSignal.timeout(patienceMs), redirect: 'manual' } as const
    response = await fetch(target.url + path, body === undefined ? init : { ...init, body: body as string })
    if (response.headers.get('content-type')?.includes('event-stream') === true) await response.body?.cancel()
    else text = await response.text()
  } catch (error) {
    // Some answer when there is something to tell; whether the service is well is asked afterwards.
    if ((error as Error).name === 'TimeoutError' || (error as Error).name === 'AbortError') return
    throw new Error(`no answer: ${describe(shot)}`, { cause: error })
  }
  // Kubo's own form: every refusal is a 500, and the typed code beside it says whose fault it was.
  const isKuboRefusal = path.startsWith('/api/v0/') && /"Reason":"ERR_(?!INTERNAL)/.test(text)
  if (response.status >= 500 && !allowedStatuses.includes(response.status) && !isKuboRefusal) {
    throw new Error(`${response.status} ${text.slice(0, 300)}: ${describe(shot)}`)
  }
  // A refused submission is answered in the form of an accepted one.
  const isCbor = response.headers.get('content-type')?.includes('cbor') === true
  if (response.status < 400 || isCbor) return
  const problem = JSON.parse(text) as { code?: unknown; Message?: unknown }
  if (typeof (problem.code ?? problem.Message) !== 'string')
    throw new Error(`no problem document: ${text.slice(0, 300)}: ${describe(shot)}`)
}

function describe({ method, path, headers, body }: Shot): string {
  const shown = body === undefined ? '' : ` ${headers['content-type']} ${Buffer.from(body).toString('base64')}`
  return `FUZZ_SEED=${fuzzSeed}, ${method} ${path}${shown}`
}

/** Describes the routes of a service. */
export async function routesOf(target: HttpTarget): Promise<Route[]> {
  const answer = await fetch(`${target.url}/openapi.json`)
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, Operation>> }
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
  return routes.filter(({ method, path }) => !(target.except ?? []).includes(`${method} ${path}`))
}

/**
 * Asks a service for ten times `fuzzMs`, at least ten times a route; it must be well afterwards.
 *
 * @returns How many requests were sent.
 * @throws {Error} that names the request, for an answer that is a fault of the service, or none.
 */
export async function fuzzHttp(target: HttpTarget): Promise<number> {
  const random = new Random(fuzzSeed)
  const routes = await routesOf(target)
  const endMs = performance.now() + 10 * fuzzMs
  let count = 0
  while (count < 10 * routes.length || performance.now() < endMs) {
    const shots = Array.from({ length: 8 }, (_, i) =>
      shotOf(random, target, routes[(count + i) % routes.length] as Route),
    )
    await Promise.all(shots.map((shot) => fire(target, shot)))
    count += shots.length
  }
  const well = await fetch(`${target.url}/healthz`, { signal: AbortSignal.timeout(30_000) })
  if (!well.ok) throw new Error(`not well after ${count} requests, FUZZ_SEED=${fuzzSeed}`)
  return count
}
