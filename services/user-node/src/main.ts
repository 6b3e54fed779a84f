/** Starts one user node from its environment. */
import { replaceBySmall } from '@healthblock/runtime/replace-process'

replaceBySmall()
const [{ runService }, { createUserNode }, { readUserNodeConfig }] = await Promise.all([
  import('@healthblock/runtime/service'),
  import('./app.ts'),
  import('./config.ts'),
])
await runService({ name: 'user-node', readConfig: () => readUserNodeConfig(process.env), create: createUserNode })
