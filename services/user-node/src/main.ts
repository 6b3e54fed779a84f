/** Starts one user node from its environment. */
import { runService } from '@healthblock/runtime/service'
import { createUserNode } from './app.ts'
import { readUserNodeConfig } from './config.ts'

await runService({ name: 'user-node', readConfig: () => readUserNodeConfig(process.env), create: createUserNode })
