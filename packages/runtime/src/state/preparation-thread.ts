/** What `PreparationPool` and its threads say to each other beside requests and results. */

/** Asks a thread to end. */
export const endRequest = 'end'
/** What it answers. */
export const endAnswer = 'ended'
