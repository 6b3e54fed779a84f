import { fileURLToPath } from 'node:url'

/** The project's folder: where `healthblock` and `package.json` are. */
export const projectRoot = fileURLToPath(new URL('../../../', import.meta.url))
