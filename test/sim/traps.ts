/** Keeps a run from what could make it differ from the last one: the wall's clock, the machine's chance, timers of its own. */
import type { Scheduler } from './scheduler.ts'

/** Functions that nothing may call during a run. */
const forbidden: readonly (readonly [object: object, name: string])[] = [
  [globalThis, 'setTimeout'],
  [globalThis, 'setInterval'],
  [Math, 'random'],
  [Date, 'now'],
  [performance, 'now'],
]

/** Replaces a property; answers what puts the old one back. */
function replace(object: object, name: string, value: unknown): () => void {
  const before = Reflect.get(object, name) as unknown
  const isOwn = Object.hasOwn(object, name)
  Reflect.set(object, name, value)
  return () => {
    if (isOwn) Reflect.set(object, name, before)
    else Reflect.deleteProperty(object, name)
  }
}

/**
 * Does `work` with the traps set. A turn of the event loop (`setImmediate`) becomes an event of the process that asks for it.
 *
 * @param onUncaught - Gets an error that nobody caught, right after the event in which it happened.
 */
export async function withTraps(
  scheduler: Scheduler,
  onUncaught: (error: unknown) => void,
  work: () => Promise<void>,
): Promise<void> {
  const immediate = (run: (...args: unknown[]) => void, ...args: unknown[]): object =>
    scheduler.after(0, scheduler.current, () => {
      try {
        run(...args)
      } catch (error) {
        onUncaught(error)
      }
    })
  const restores = forbidden.map(([object, name]) =>
    replace(object, name, () => {
      throw new Error(`${name} was called: the run would not be repeatable`)
    }),
  )
  restores.push(replace(globalThis, 'setImmediate', immediate))
  process.on('unhandledRejection', onUncaught)
  try {
    await work()
  } finally {
    process.off('unhandledRejection', onUncaught)
    for (const restore of restores) restore()
  }
}
