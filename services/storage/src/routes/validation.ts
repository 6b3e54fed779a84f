/**
 * What callers send, held against the few forms of JSON schema that these routes use. The validator that Fastify brings
 * along is never loaded: it takes 3 MiB of an idle node, and compares each request with every name that a schema knows.
 */
import type { FastifyServerOptions } from 'fastify'
import { StorageError } from '../errors.ts'

/** Text. */
interface TextSchema {
  readonly type: 'string'
  readonly maxLength: number
  readonly default?: string
}

/** A whole number; a query has it as text. */
interface IntegerSchema {
  readonly type: 'integer'
  readonly minimum: number
  readonly maximum?: number
  readonly default?: number
}

/** Several texts; one alone may stand for itself, as in a query that has the name once. */
interface ListSchema {
  readonly type: 'array'
  readonly items: TextSchema
  readonly minItems?: number
  readonly maxItems: number
}

type ValueSchema = TextSchema | IntegerSchema | ListSchema

/** A query or a body by its names; what is not among them is left as it came, or refused where nothing else may be there. */
export interface RequestSchema {
  readonly type: 'object'
  readonly properties: Readonly<Record<string, ValueSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: false
}

function invalid(field: string, reason: string): StorageError {
  return new StorageError(`${field}: ${reason}`, { code: 'ERR_ARGUMENT_INVALID', field, reason })
}

function parseText(field: string, { maxLength }: TextSchema, value: unknown): string {
  if (typeof value !== 'string') throw invalid(field, 'not a text')
  if (value.length > maxLength) throw invalid(field, `longer than ${maxLength}`)
  return value
}

function parseInteger(field: string, schema: IntegerSchema, value: unknown): number {
  const { minimum, maximum = Number.MAX_SAFE_INTEGER } = schema
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) throw invalid(field, 'not a whole number')
  if (number < minimum || number > maximum) throw invalid(field, `not from ${minimum} to ${maximum}`)
  return number
}

function parseList(field: string, schema: ListSchema, value: unknown): string[] {
  const { items, minItems = 0, maxItems } = schema
  const list = Array.isArray(value) ? value : [value]
  if (list.length < minItems) throw invalid(field, `fewer than ${minItems}`)
  if (list.length > maxItems) throw invalid(field, `more than ${maxItems}`)
  return list.map((item) => parseText(field, items, item))
}

function parseValue(field: string, schema: ValueSchema, value: unknown): string | number | string[] {
  switch (schema.type) {
    case 'string':
      return parseText(field, schema, value)
    case 'integer':
      return parseInteger(field, schema, value)
    case 'array':
      return parseList(field, schema, value)
  }
}

/** Reads what was sent in place. Throws at the first field that is not as its schema says. */
function parseRequest(schema: RequestSchema, sent: unknown): void {
  const { properties, required = [], additionalProperties } = schema
  if (typeof sent !== 'object' || sent === null || Array.isArray(sent)) throw invalid('body', 'not an object')
  const fields = sent as Record<string, unknown>
  for (const name of required) {
    if (!Object.hasOwn(fields, name)) throw invalid(name, 'missing')
  }
  for (const [name, value] of Object.entries(fields)) {
    if (Object.hasOwn(properties, name)) fields[name] = parseValue(name, properties[name] as ValueSchema, value)
    else if (additionalProperties === false) throw invalid(name.slice(0, 64), 'not known')
  }
}

/** Values of what was not sent. */
function defaultsOf({ properties }: RequestSchema): [string, string | number][] {
  return Object.entries(properties).flatMap(([name, value]): [string, string | number][] =>
    'default' in value && value.default !== undefined ? [[name, value.default]] : [],
  )
}

/** How a check says what it found: the value as it is to be used, or what is wrong with it. */
type Checked = { value: Record<string, unknown> } | { error: StorageError }

/** Makes the check of one route's query or body. It throws nothing: what is wrong is returned, as Fastify wants it. */
export function compileSchema(schema: RequestSchema): (sent: Record<string, unknown>) => Checked {
  const defaults = defaultsOf(schema)
  return (sent) => {
    try {
      parseRequest(schema, sent)
    } catch (error) {
      if (error instanceof StorageError) return { error }
      throw error
    }
    for (const [name, value] of defaults) sent[name] ??= value
    return { value: sent }
  }
}

/** For Fastify: requests are checked as above, answers are JSON. */
export const schemaController = {
  compilersFactory: {
    buildValidator: () => (route: { schema: RequestSchema }) => compileSchema(route.schema),
    buildSerializer: () => () => (answer: unknown) => JSON.stringify(answer),
  },
} as unknown as NonNullable<FastifyServerOptions['schemaController']>
