import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { addPortalSessionRoutes } from '@healthblock/runtime/portal-routes'
import type { OpenPortalSession } from '@healthblock/runtime/portal-session'
import { UserNodeError } from '../errors.ts'
import type { Session } from '../people/sessions.ts'
import type { Services } from '../services.ts'

function viewOf({ id, person, expiresAtMs, end }: Session): OpenPortalSession {
  return { id, name: person.name, role: 'patient', expiresAtMs, end }
}

/** Sessions of the portal: the same that scripts have, named by a cookie. A name that is not here is told like a wrong passphrase. */
export function registerPortalRoutes(app: FastifyInstance, services: Services): void {
  const { cookie, sessions, store, nowMs, config } = services
  addPortalSessionRoutes(app, {
    cookie,
    nowMs,
    idleMs: config.idleMs,
    sessions: {
      async open({ name, passphrase, source }) {
        const everybody = store.all()
        const person = everybody.find((one) => one.name === name || one.id === name)
        try {
          if (person !== undefined) return viewOf(await sessions.open(person, passphrase, source))
          if (everybody[0] !== undefined) await sessions.openNobody(name, everybody[0], source)
          throw new UserNodeError('nobody lives here', { code: 'ERR_PASSPHRASE_WRONG' })
        } catch (error) {
          if (!(error instanceof UserNodeError && error.detail.code === 'ERR_PASSPHRASE_WRONG')) throw error
          throw new RuntimeError(
            'the name or the passphrase is wrong',
            { code: 'ERR_PASSPHRASE_WRONG' },
            { cause: error },
          )
        }
      },
      find(id, isUse) {
        try {
          return viewOf(sessions.find(id, isUse))
        } catch (error) {
          if (error instanceof UserNodeError && error.detail.code === 'ERR_SESSION_MISSING') return undefined
          throw error
        }
      },
      close: (id) => sessions.close(id),
    },
  })
}
