import { Ajv } from 'ajv'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { querystring } from './query.ts'
import { compileSchema, type RequestSchema } from './validation.ts'

const page = {
  type: 'object',
  properties: {
    after: { type: 'integer', minimum: 0, default: 0 },
    limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
  },
} as const satisfies RequestSchema
const body = {
  type: 'object',
  required: ['cids'],
  additionalProperties: false,
  properties: { cids: { type: 'array', minItems: 1, maxItems: 3, items: { type: 'string', maxLength: 8 } } },
} as const satisfies RequestSchema

function read(schema: RequestSchema, sent: unknown): unknown {
  const checked = compileSchema(schema)(sent as Record<string, unknown>)
  return 'error' in checked ? checked.error.detail : checked.value
}

describe('a request is held against its schema', () => {
  test.each([
    [{}, { after: 0, limit: 100 }],
    [
      { after: '7', other: 'x' },
      { after: 7, limit: 100, other: 'x' },
    ],
  ])('%j is read', (sent, value) => expect(read(page, sent)).toEqual(value))

  test.each([
    ['after', { after: '-1' }],
    ['after', { after: '1.5' }],
    ['after', { after: '1e400' }],
    ['after', { after: '' }],
    ['after', { after: ' ' }],
    ['after', { after: ['1', '2'] }],
    ['limit', { limit: '0' }],
    ['limit', { limit: '1001' }],
    ['after', { after: '9007199254740992' }],
  ])('%s is refused in %j', (field, sent) =>
    expect(read(page, sent)).toMatchObject({ code: 'ERR_ARGUMENT_INVALID', field }),
  )

  test.each([
    [null, 'body'],
    [[], 'body'],
    ['cids', 'body'],
    [{}, 'cids'],
    [{ cids: [] }, 'cids'],
    [{ cids: ['a', 'b', 'c', 'd'] }, 'cids'],
    [{ cids: ['123456789'] }, 'cids'],
    [{ cids: [1] }, 'cids'],
    [{ cids: ['a'], more: 1 }, 'more'],
    [JSON.parse('{"cids":["a"],"toString":"x"}'), 'toString'],
  ])('the body %j is refused', (sent, field) =>
    expect(read(body, sent)).toMatchObject({ code: 'ERR_ARGUMENT_INVALID', field }),
  )

  test('names of every object are no fields of a schema', () => {
    expect(read(querystring, JSON.parse('{"constructor":"x","arg":"a"}'))).toEqual({ constructor: 'x', arg: ['a'] })
    const lacking = Object.create({ cids: ['a'] }) as object
    expect(read(body, lacking)).toMatchObject({ field: 'cids' })
  })

  test('queries are taken and refused as the library that knows all of JSON schema does', () => {
    const ajv = new Ajv({ coerceTypes: 'array', useDefaults: true })
    const value = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.integer().map(String),
      fc.array(fc.string({ maxLength: 5 }), { minLength: 2, maxLength: 4 }),
    )
    const name = fc.constantFrom('after', 'limit', 'arg', 'pin', 'timeout', 'else')
    for (const schema of [page, querystring]) {
      const isValid = ajv.compile<Record<string, unknown>>(schema)
      fc.assert(
        fc.property(fc.dictionary(name, value, { noNullPrototype: true }), (query) => {
          // The library takes texts for numbers that no query should have: 1e3, 0x10, nothing at all.
          const odd = ['after', 'limit'].some((key) => key in query && !/^-?\d{1,15}$/.test(String(query[key])))
          fc.pre(!odd || schema !== page)
          const theirs = structuredClone(query)
          const found = compileSchema(schema)(structuredClone(query))
          expect('value' in found).toBe(isValid(theirs))
          if ('value' in found) expect(found.value).toEqual(theirs)
        }),
        { numRuns: 300 },
      )
    }
  })
})
