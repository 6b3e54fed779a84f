/**
 * Node's HTTP. A module that imports `node:http` by name has every name of it made, WebSocket and with it the
 * whole of undici among them: 3 MiB that nobody uses here.
 */
const http = process.getBuiltinModule('node:http')

/** Keeps connections. */
export const HttpAgent = http.Agent
/** Begins a request. */
export const httpRequest = http.request
/** Makes a server. */
export const createHttpServer = http.createServer
/** The words that go with each status. */
export const statusTexts = http.STATUS_CODES
