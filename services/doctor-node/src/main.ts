/** Starts one doctor node from its environment. */
import { runService } from '@healthblock/runtime/service'
import { createDoctorNode } from './app.ts'
import { readDoctorNodeConfig } from './config.ts'

await runService({ name: 'doctor-node', readConfig: () => readDoctorNodeConfig(process.env), create: createDoctorNode })
