/** What installing this service brings with it: counted from the lockfile, measured on the disk, each package once. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const packagesMax = 150
const megabytesMax = 60

interface Locked {
  version?: string
  link?: boolean
  resolved?: string
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>
}

/** Where Node finds a package that another one asks for. */
function locate(from: string, name: string): string | undefined {
  for (let place = from; ; place = place.replace(/(^|\/)node_modules\/(@[^/]+\/)?[^/]+$/, '')) {
    const path = `${place === '' ? '' : `${place}/`}node_modules/${name}`
    if (packages[path]) return path
    if (place === '' || !place.includes('node_modules'))
      return packages[`node_modules/${name}`] && `node_modules/${name}`
  }
}

/** Every installed package under one, by its place. */
function closure(start: string): Set<string> {
  const found = new Set<string>()
  const waiting = [start]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const { dependencies = {}, optionalDependencies = {} } = packages[at] as Locked
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const place = locate(at, name)
      if (place === undefined || found.has(place)) continue
      found.add(place)
      const { link, resolved } = packages[place] as Locked
      waiting.push(link === true && resolved !== undefined ? resolved : place)
    }
  }
  return found
}

test(`the service brings fewer than ${packagesMax} packages, ${megabytesMax} MB, and no native addon`, () => {
  const byName = new Map<string, string>()
  for (const place of closure('services/storage')) {
    const { link, version } = packages[place] as Locked
    // The workspace keeps several copies of some, for other rooms' sake.
    if (link !== true && existsSync(join(root, place)))
      byName.set(`${place.split('node_modules/').at(-1)} ${version}`, place)
  }
  const places = [...byName.values()]
  let bytes = 0
  const native: string[] = []
  for (const place of places) {
    for (const name of globSync('**/*', { cwd: join(root, place), exclude: (path) => path.includes('node_modules') })) {
      const stat = statSync(join(root, place, name))
      if (stat.isFile()) bytes += stat.size
      if (/\.node$|binding\.gyp$/.test(name)) native.push(`${place}/${name}`)
    }
  }
  expect(places.length).toBeGreaterThan(50)
  expect(native).toEqual([])
  expect(places.length).toBeLessThan(packagesMax)
  expect(bytes / 1e6).toBeLessThan(megabytesMax)
})
