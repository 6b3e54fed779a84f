/** What a source that turns somebody away is said to have said. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { sendRequest } from './http-client.ts'

async function refusalOf(status: number, aheadMs: number): Promise<string> {
  const server = createServer((_request, response) => {
    response.writeHead(status, { date: new Date(Date.now() - aheadMs).toUTCString() })
    response.end(JSON.stringify({ code: 'ERR_TOKEN_INVALID', detail: 'token: expired' }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/userchain/head`
  try {
    await sendRequest({ url, timeoutMs: 30_000, sizeBytesMax: 1024 })
    return 'taken'
  } catch (error) {
    return (error as Error).message.replace(/^http:\S+ /, '')
  } finally {
    server.close()
  }
}

test('who is not known because of a wrong clock is told by how much it is wrong', async () => {
  const hour = 3_600_000
  const said = 'refused with 401: token: expired'
  expect(await refusalOf(401, -hour)).toBe(`${said} (this machine's clock is 60 min behind that one's: set it right)`)
  expect(await refusalOf(401, 25 * hour)).toBe(
    `${said} (this machine's clock is 1500 min ahead of that one's: set it right)`,
  )
  expect(await refusalOf(401, 5_000)).toBe(said)
  expect(await refusalOf(404, -hour)).toBe('refused with 404: token: expired')
})
