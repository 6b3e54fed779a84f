/**
 * What is done to a node's folder from outside: `node src/offline.ts fsck DIR`, `backup FROM TO [--with-secrets]`, `restore FROM TO`. One JSON
 * object on stdout. Exit code 0; 1 with findings or if it cannot be done; 2 for wrong usage.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { backUpNode, restoreNode } from './offline/backup.ts'
import { checkNode } from './offline/check-node.ts'

const usage = 'usage: offline fsck DIR | backup FROM TO [--with-secrets] | restore FROM TO\n'
const { values, positionals } = parseArgs({
  options: { 'with-secrets': { type: 'boolean' } },
  allowPositionals: true,
})
const [action, ...paths] = positionals
const [from = '', to = ''] = paths.map((path) => resolve(path))

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

try {
  if (action === 'fsck' && paths.length === 1) {
    const report = await checkNode(from)
    print(report)
    process.exitCode = report.ok ? 0 : 1
  } else if (action === 'backup' && paths.length === 2) {
    print(await backUpNode({ from, to, withSecrets: values['with-secrets'] === true, nowMs: Date.now() }))
  } else if (action === 'restore' && paths.length === 2) {
    const { report, aside } = await restoreNode({ from, to, nowMs: Date.now() })
    print({ chains: report.chains, ledgerId: report.ledgerId, notes: report.notes, aside: aside ?? null })
  } else {
    process.stderr.write(usage)
    process.exitCode = 2
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
