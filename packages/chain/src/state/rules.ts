/** What senders have to know of the rules before they sign (SPEC.md §6): versions from which something holds, and bounds. */

/**
 * From this version of the rules on a thief of an account's op key leaves nothing behind that its owner cannot pass once root replaced the key: cuts
 * have a bound, devices are removed by root and op together, erasures are counted for each op key, policies may name replaced log keys.
 */
export const rulesOfOwners = 4

/** How far in the future a consent transaction's expiry and counter may lie, ms. */
export const consentAheadMsMax = 86_400_000

/** How many generations one `key` may advance. */
export const generationStepMax = 16

/**
 * How far a new cut may lie beyond its stream's newest record, from {@link rulesOfOwners} on: 45 days of a record a minute that wait for the storage
 * network. What a thief of op cut is filled with gaps, 64 in a transaction, before the stream goes on.
 */
export const cutAheadMax = 65_536
