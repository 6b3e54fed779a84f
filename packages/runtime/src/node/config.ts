/**
 * Reads a service's settings once: every variable and every secret file is looked at before anything is reported, so
 * that an operator sees all faults together. The result is frozen; secrets are an object of their own, so that settings
 * can be logged without them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, RuntimeError } from '../errors.ts'
import { Networks } from '../http/client-source.ts'

/** One setting: its variable, its meaning for the operator, and how its text is read. */
export interface Field<T> {
  readonly variable: string
  readonly description: string
  /** Text that is read if the variable is absent; without one the variable must be set. */
  readonly fallback?: string
  /** True if absence is a value of its own (`undefined`). */
  readonly optional: boolean
  /** Reads the text, or throws an `Error` whose message completes "VARIABLE …". */
  readonly read: (text: string) => T
}

/** A record of fields. */
export type Fields = Readonly<Record<string, Field<unknown>>>
/** What a record of fields is read as. */
export type Values<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }
/** The variables of a process, as `process.env` holds them. */
export type Environment = Readonly<Record<string, string | undefined>>

interface Common {
  readonly description: string
  readonly fallback?: string
}

function field<T>(variable: string, common: Common, read: (text: string) => T): Field<T> {
  const base = { variable, description: common.description, optional: false, read }
  return common.fallback === undefined ? base : { ...base, fallback: common.fallback }
}

function wrong(message: string): never {
  throw new RuntimeError(message, { code: 'ERR_CONFIG_INVALID', faults: [message] })
}

/** A text; `pattern` must match all of it. */
export function text(variable: string, options: Common & { pattern?: RegExp }): Field<string> {
  return field(variable, options, (value) => {
    if (options.pattern !== undefined && !options.pattern.test(value)) wrong(`must match ${options.pattern.source}`)
    return value
  })
}

/** A whole number in decimal digits, `min` and `max` allowed. */
export function integer(variable: string, options: Common & { min: number; max: number }): Field<number> {
  return field(variable, options, (value) => {
    const number = Number(value)
    if (!/^-?[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(number)) wrong('must be a whole number')
    if (number < options.min || number > options.max) wrong(`must be from ${options.min} to ${options.max}`)
    return number
  })
}

/** One of a few words. */
export function choice<const T extends string>(variable: string, options: Common & { of: readonly T[] }): Field<T> {
  return field(variable, options, (value) => {
    const found = options.of.find((word) => word === value)
    return found ?? wrong(`must be one of: ${options.of.join(', ')}`)
  })
}

/** `true` or `false`. */
export function flag(variable: string, options: Common): Field<boolean> {
  return field(variable, options, (value) => {
    if (value !== 'true' && value !== 'false') wrong('must be true or false')
    return value === 'true'
  })
}

/** A path, made absolute against the working folder. */
export function path(variable: string, options: Common): Field<string> {
  return field(variable, options, (value) => (isAbsolute(value) ? value : resolve(value)))
}

/** `WEB_DIR`: where the built portals lie; `web/dist` of this checkout if it is not set. They need not be there. */
export function webDir(): Field<string> {
  const fallback = fileURLToPath(new URL('../../../../web/dist', import.meta.url))
  return path('WEB_DIR', { description: 'folder of the built portals', fallback })
}

function list(value: string): readonly string[] {
  return Object.freeze(value.split(',').map((part) => part.trim()))
}

/** `TRUSTED_PROXIES`: addresses and networks of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed; by default nobody's are. */
export function trustedProxies(): Field<readonly string[] | undefined> {
  const description = 'addresses and networks (commas) of the proxies whose X-Forwarded-* headers are believed'
  return optional(
    field('TRUSTED_PROXIES', { description }, (value) => {
      const proxies = list(value)
      new Networks(proxies)
      return proxies
    }),
  )
}

/** `PORTAL_NAMES`: the names that people reach the portal by, besides numbers and `localhost`. */
export function portalNames(): Field<readonly string[] | undefined> {
  const description = 'names (commas) that the portal is reached by, besides numeric addresses and localhost'
  return optional(
    field('PORTAL_NAMES', { description }, (value) => {
      const names = list(value.toLowerCase())
      if (names.some((name) => !/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name)))
        wrong('must be names, without a port')
      return names
    }),
  )
}

/** A path to a file that must exist; the value is its absolute path. */
export function existingFile(variable: string, options: Common): Field<string> {
  return field(variable, options, (value) => {
    const absolute = resolve(value)
    if (!existsSync(absolute)) wrong(`names ${absolute}, which does not exist`)
    return absolute
  })
}

function parseHttpUrl(value: string): string {
  let url: URL
  try {
    url = new URL(value)
  } catch {
    return wrong('must be an http or https URL')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') wrong('must be an http or https URL')
  if (url.username !== '' || url.password !== '') wrong('must not hold a user name or password')
  return url.href.replace(/\/$/, '')
}

/** One http or https URL, without a slash at the end. */
export function url(variable: string, options: Common): Field<string> {
  return field(variable, options, parseHttpUrl)
}

/** URLs, separated by commas: at least one, all different. */
export function urls(variable: string, options: Common): Field<readonly string[]> {
  return field(variable, options, (value) => {
    const list = value.split(',').map((part) => parseHttpUrl(part.trim()))
    if (new Set(list).size !== list.length) wrong('must not name a URL twice')
    return Object.freeze(list)
  })
}

/** Largest file that a secret or a JSON field may name. */
export const configFileSizeBytesMax = 1_048_576

function readSmallFile(named: string): Uint8Array {
  const absolute = resolve(named)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(absolute)
  } catch (error) {
    return wrong(`names ${absolute}, which cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
  }
  if (bytes.length > configFileSizeBytesMax)
    wrong(`names ${absolute}, which is larger than ${configFileSizeBytesMax} bytes`)
  return bytes
}

/** A secret kept in a file: one line of at least `lengthMin` characters (default 16), white space around it ignored. */
export function secretText(variable: string, options: Common & { lengthMin?: number }): Field<string> {
  return field(variable, options, (value) => {
    const secret = new TextDecoder().decode(readSmallFile(value)).trim()
    const lengthMin = options.lengthMin ?? 16
    if (secret.length < lengthMin) wrong(`names a file that holds fewer than ${lengthMin} characters`)
    return secret
  })
}

/** The bytes of a file, for secrets and for keys; `sizeBytes` demands an exact size. */
export function fileBytes(variable: string, options: Common & { sizeBytes?: number }): Field<Uint8Array> {
  return field(variable, options, (value) => {
    const bytes = new Uint8Array(readSmallFile(value))
    if (options.sizeBytes !== undefined && bytes.length !== options.sizeBytes) {
      wrong(`names a file of ${bytes.length} bytes, not ${options.sizeBytes}`)
    }
    return bytes
  })
}

/** A JSON file, given to `parse`, whose error's message is reported. */
export function jsonFile<T>(variable: string, options: Common & { parse: (value: unknown) => T }): Field<T> {
  return field(variable, options, (value) => {
    const bytes = readSmallFile(value)
    let json: unknown
    try {
      json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    } catch {
      wrong(`names ${resolve(value)}, which is not JSON`)
    }
    return options.parse(json)
  })
}

/** The same field, whose absence is `undefined`. */
export function optional<T>(inner: Field<T>): Field<T | undefined> {
  return { ...inner, optional: true }
}

function readFields<F extends Fields>(environment: Environment, fields: F, faults: string[]): Values<F> {
  const values: Record<string, unknown> = {}
  for (const [name, one] of Object.entries(fields)) {
    const given = environment[one.variable]
    const value = given === undefined || given === '' ? one.fallback : given
    if (value === undefined) {
      if (one.optional) values[name] = undefined
      else faults.push(`${one.variable} must be set: ${one.description}`)
      continue
    }
    try {
      values[name] = one.read(value)
    } catch (error) {
      faults.push(`${one.variable} ${messageOf(error)}`)
    }
  }
  return Object.freeze(values) as Values<F>
}

/**
 * Reads all settings and secrets of a service.
 *
 * @param environment - `process.env`; read once, never written. An empty variable counts as absent.
 * @returns Two frozen objects with the names of `fields.settings` and `fields.secrets`.
 * @throws {RuntimeError} `ERR_CONFIG_INVALID` with every fault, one line each; no value of a secret is in a message.
 */
export function readConfig<S extends Fields, K extends Fields>(
  environment: Environment,
  fields: { settings: S; secrets: K },
): { readonly settings: Values<S>; readonly secrets: Values<K> } {
  const faults: string[] = []
  const settings = readFields(environment, fields.settings, faults)
  const secrets = readFields(environment, fields.secrets, faults)
  if (faults.length > 0) {
    const message = `the configuration is not valid:\n${faults.map((fault) => `  ${fault}`).join('\n')}`
    throw new RuntimeError(message, { code: 'ERR_CONFIG_INVALID', faults })
  }
  return Object.freeze({ settings, secrets })
}

/** What `*_LEDGER_FILE` of user and doctor node names: the ledger and where its nodes are. */
export interface LedgerFile {
  /** The genesis file's bytes. */
  readonly genesis: Uint8Array
  readonly accounting: readonly string[]
  readonly storage: readonly string[]
}

function urlList(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) return wrong(`must hold "${name}", a list of URLs`)
  return Object.freeze(
    value.map((item) => (typeof item === 'string' ? parseHttpUrl(item) : wrong(`"${name}" must hold texts`))),
  )
}

/** A JSON file `{genesis: path, accounting: [url], storage: [url]}`; a relative path starts at the working folder. */
export function ledgerFile(variable: string, options: Common): Field<LedgerFile> {
  return jsonFile(variable, {
    ...options,
    parse: (value) => {
      if (typeof value !== 'object' || value === null) return wrong('must name a file with one JSON object')
      const { genesis, accounting, storage } = value as Record<string, unknown>
      if (typeof genesis !== 'string') return wrong('must hold "genesis", the path of the genesis file')
      return Object.freeze({
        genesis: new Uint8Array(readSmallFile(genesis)),
        accounting: urlList(accounting, 'accounting'),
        storage: urlList(storage, 'storage'),
      })
    },
  })
}
