import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { sendInOrder } from './device-send.ts'

let server: Server | undefined

afterEach(async () => {
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  server = undefined
})

/** A node that answers each batch as that says, the first time and the next. */
async function nodeThatAnswers(answers: Record<string, readonly number[]>) {
  const asked: string[] = []
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (piece) => {
      body += piece
    })
    request.on('end', () => {
      const name = JSON.parse(body) as string
      const before = asked.filter((one) => one === name).length
      const status = answers[name]?.[before] ?? 202
      asked.push(name)
      response.writeHead(status, { 'content-type': 'application/json', 'retry-after': '30' })
      response.end(JSON.stringify({ detail: `${name} is answered ${status}` }))
    })
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const paused: number[] = []
  const said: string[] = []
  const send = (waitMs: number) =>
    sendInOrder(['one', 'two', 'three'], {
      ...{ access: { name: 'user-1', url: `http://127.0.0.1:${port}`, bearer: 'x' }, path: '/samples', waitMs },
      pause: async (ms) => void paused.push(ms),
      say: (words) => said.push(words),
    })
  return { asked, paused, said, send }
}

describe('a device', () => {
  test('drops what is refused for good and goes on to what comes behind it', async () => {
    const { asked, said, send } = await nodeThatAnswers({ one: [400], two: [409] })
    expect(await send(0)).toEqual({ accepted: 1, dropped: 2 })
    expect(asked).toEqual(['one', 'two', 'three'])
    expect(said.join('')).toMatch(/batch 1 of 3 is dropped.*400\nbatch 2 of 3 is dropped.*409/)
  })

  test('sends what is not taken yet again when the node says, before what comes behind it', async () => {
    const { asked, paused, send } = await nodeThatAnswers({ two: [503, 429] })
    expect(await send(60_000)).toEqual({ accepted: 3, dropped: 0 })
    expect(asked).toEqual(['one', 'two', 'two', 'two', 'three'])
    expect(paused).toEqual([30_000, 30_000])
  })

  test('keeps what was not taken in time, and does not pass it', async () => {
    const { asked, send } = await nodeThatAnswers({ two: [503, 503, 503] })
    await expect(send(59_999)).rejects.toThrow(/batch 2 of 3: .*503 \(1 before it were accepted: .* again in 30 s/)
    expect(asked).toEqual(['one', 'two', 'two'])
  })

  test('keeps everything when it is the device that is turned away', async () => {
    const { asked, send } = await nodeThatAnswers({ one: [401] })
    await expect(send(60_000)).rejects.toThrow(/batch 1 of 3: .*401 \(nothing was accepted\)/)
    expect(asked).toEqual(['one'])
  })
})
