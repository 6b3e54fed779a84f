/** Trains all tables, one after another, because each rests on those before it: `node training/train-all.ts`. It takes a minute or two of one core, and the same code and records give the same bytes. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

for (const script of ['train-flutter.ts', 'train-beats.ts', 'train-classes.ts']) {
  console.log(script)
  execFileSync(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), '--write'], { stdio: 'inherit' })
}
