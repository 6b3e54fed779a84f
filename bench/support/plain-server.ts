/**
 * What a reading costs without any of this: an HTTP server that keeps readings in SQLite, and files in a folder, as they come, in the
 * clear, each durable before it answers. It prints its address and ends with its standard input.
 */
import { createReadStream, mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pipeline } from 'node:stream/promises'

const [folder] = process.argv.slice(2) as [string]
mkdirSync(folder, { recursive: true })
const database = new DatabaseSync(join(folder, 'readings.db'))
database.exec(
  'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE reading (id INTEGER PRIMARY KEY, samples BLOB)',
)
const insert = database.prepare('INSERT INTO reading (samples) VALUES (?)')
const select = database.prepare('SELECT samples FROM reading WHERE id = ?')

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, what, name] = (request.url ?? '').split('/')
  if (what === 'readings' && request.method === 'POST') {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const { samples } = JSON.parse(Buffer.concat(parts).toString()) as { samples: string }
    const { lastInsertRowid } = insert.run(Buffer.from(samples, 'base64'))
    response.end(JSON.stringify({ id: Number(lastInsertRowid) }))
  } else if (what === 'readings') {
    const row = select.get(Number(name)) as { samples: Uint8Array }
    response.end(JSON.stringify({ samples: Buffer.from(row.samples).toString('base64') }))
  } else if (request.method === 'PUT') {
    const file = await open(join(folder, name as string), 'w')
    for await (const part of request) await file.write(part as Buffer)
    await file.sync()
    await file.close()
    response.end()
  } else await pipeline(createReadStream(join(folder, name as string)), response)
}

const server = createServer((request, response) => {
  // A caller that leaves, or asks for what is not there, loses his connection.
  answer(request, response).catch(() => response.destroy())
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number }
  process.stdout.write(`http://127.0.0.1:${port}\n`)
})
process.stdin.resume().once('end', () => process.exit(0))
