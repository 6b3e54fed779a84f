import { describe, expect, it } from 'vitest'
import { FindingList } from './report.ts'

const finding = (index: number, code = 'entry.altered') =>
  ({ code, chain: 'userchain', index, node: 'n0', message: 'm' }) as const

describe('the list of findings', () => {
  it('counts once what it does not list, however often it is met', () => {
    const told: number[] = []
    const list = new FindingList(({ index }) => told.push(index as number))
    for (let look = 0; look < 3; look++) {
      for (let index = 0; index < 107; index++) list.add(finding(index))
      list.endLook()
      expect(list.leftOut).toEqual(['7 further findings entry.altered n0 are not listed'])
    }
    expect(told).toHaveLength(100)
    expect(list.list(() => undefined)).toHaveLength(100)
  })

  it('counts each kind, and each node, by itself', () => {
    const list = new FindingList()
    for (let index = 0; index < 101; index++) {
      list.add(finding(index))
      list.add({ ...finding(index), node: 'n1' })
    }
    for (let index = 0; index < 100; index++) list.add(finding(index, 'entry.missing'))
    expect(list.leftOut).toEqual([
      '1 further findings entry.altered n0 are not listed',
      '1 further findings entry.altered n1 are not listed',
    ])
  })

  it('forgets what has passed, also beyond what it lists', () => {
    const list = new FindingList()
    for (let index = 0; index < 107; index++) list.add(finding(index, 'entry.missing'))
    list.endLook()
    expect(list.leftOut).toHaveLength(1)
    list.endLook()
    expect([list.leftOut, list.list(() => undefined)]).toEqual([[], []])
  })
})
