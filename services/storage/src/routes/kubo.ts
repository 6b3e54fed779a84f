/** The part of the Kubo RPC that this service speaks (docs.ipfs.tech/reference/kubo/rpc), so that IPFS clients work. */
import type { FastifyInstance } from 'fastify'
import { addBlockCommands } from './blocks.ts'
import { addDagCommands } from './dag.ts'
import { addFileCommands } from './files.ts'
import { addGet } from './get.ts'
import type { KuboRouteParts } from './parts.ts'
import { addPinCommands } from './pins.ts'
import { addSwarmCommands } from './swarm.ts'

/** Adds the routes under `/api/v0`. What is not here is answered as Kubo answers an unknown command. */
export function addKuboRoutes(app: FastifyInstance, parts: KuboRouteParts): void {
  addSwarmCommands(app, parts)
  addBlockCommands(app, parts)
  addPinCommands(app, parts)
  addFileCommands(app, parts)
  addGet(app, parts)
  addDagCommands(app, parts)
}
