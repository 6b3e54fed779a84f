import type { HeldNodes } from '@healthblock/crypto/hot-store'
import type { Session } from '../people/sessions.ts'
import type { Services } from '../services.ts'

/** The keys by which a person reads what doctors wrote, after this node has caught up with what is published. */
export async function heldBy(services: Services, session: Session): Promise<HeldNodes[]> {
  await services.sessions.absorbRoots(session)
  await services.refresh()
  await services.diagnoses.open(true)
  return [...session.person.hot.nodes, ...session.vault.contents.nodes]
}
