/** Serves a built portal: a handful of files, read once, with headers that leave a page nothing but its own origin. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from '../http/http-app.ts'
import { createProblem, problemContentType } from '../http/problem.ts'

/** Where the built files lie and which of the portals this service shows. */
export interface PortalFilesOptions {
  /** Folder with `<portal>.html` and `assets/`. It may be missing: then `GET /` says how to build it. */
  readonly dir: string
  readonly portal: 'patient' | 'doctor' | 'auditor'
}

interface StoredFile {
  readonly type: string
  readonly bytes: Buffer
  /** The same, compressed with Brotli when the portal was built. */
  readonly brotli?: Buffer
  readonly etag: string
}

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
}

/**
 * What a page may do: run its own scripts, use its own styles, talk to its own origin. No inline script, no frame, no form that leaves,
 * no text that becomes markup (W3C Content Security Policy Level 3, Trusted Types).
 */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': pagePolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=(), usb=(), payment=()',
}

function readStored(path: string): StoredFile {
  const bytes = readFileSync(path)
  const compressed = `${path}.br`
  return {
    type: contentTypes[extname(path)] ?? 'application/octet-stream',
    bytes,
    ...(existsSync(compressed) ? { brotli: readFileSync(compressed) } : {}),
    etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
  }
}

/** Every file that may be asked for, by name. A name that is not here does not exist: no path is ever built from a request. */
function readAssets(dir: string): Map<string, StoredFile> {
  const assets = new Map<string, StoredFile>()
  const folder = join(dir, 'assets')
  if (!existsSync(folder)) return assets
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isFile() && !entry.name.endsWith('.br')) assets.set(entry.name, readStored(join(folder, entry.name)))
  }
  return assets
}

function send(request: FastifyRequest, reply: FastifyReply, file: StoredFile, cacheControl: string): FastifyReply {
  void reply
    .headers(pageHeaders)
    .header('cache-control', cacheControl)
    .header('etag', file.etag)
    .header('vary', 'accept-encoding')
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send()
  const takesBrotli = /\bbr\b/.test(request.headers['accept-encoding'] ?? '')
  if (file.brotli !== undefined && takesBrotli) void reply.header('content-encoding', 'br')
  return reply.type(file.type).send(file.brotli !== undefined && takesBrotli ? file.brotli : file.bytes)
}

/** Adds `GET /` (the page) and `GET /assets/:name` (what it needs). Assets carry their hash in the name and are cached for ever. */
export function servePortal(app: FastifyInstance, options: PortalFilesOptions): void {
  const page = join(options.dir, `${options.portal}.html`)
  const index = existsSync(page) ? readStored(page) : undefined
  const assets = readAssets(options.dir)
  const hidden = { schema: { hide: true } }
  app.get('/', hidden, async (request, reply) => {
    if (index !== undefined) return send(request, reply, index, 'no-cache')
    const detail = `the portal is not built: "npm run build --workspace web" makes it (${options.portal})`
    const problem = createProblem({ status: 503, code: 'ERR_PORTAL_NOT_BUILT', detail })
    return reply.code(503).type(problemContentType).send(JSON.stringify(problem))
  })
  app.get<{ Params: { name: string } }>('/assets/:name', hidden, async (request, reply) => {
    const file = assets.get(request.params.name)
    if (file !== undefined) return send(request, reply, file, 'public, max-age=31536000, immutable')
    const problem = createProblem({ status: 404, code: 'ERR_NOT_FOUND', detail: 'there is nothing at this address' })
    return reply.code(404).type(problemContentType).send(JSON.stringify(problem))
  })
}
