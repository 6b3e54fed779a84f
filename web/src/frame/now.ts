/** The node's clock, told to a screen now and then. */
import { useEffect, useState } from 'preact/hooks'
import { nodeNowMs } from './api.ts'

/** Unix ms by the node's clock; the component is drawn again every `everyMs`. */
export function useNow(everyMs = 5_000): number {
  const [nowMs, setNow] = useState(nodeNowMs())
  useEffect(() => {
    const timer = setInterval(() => setNow(nodeNowMs()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return nowMs
}
