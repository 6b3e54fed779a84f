/** The one logger of this process: pino on stderr, one child for each part. */
export { createLogger, type Logger } from '@healthblock/runtime/logger'
