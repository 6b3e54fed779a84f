import type { Profile } from './plan.ts'

/** Seeds that once found something, and what. Each is a test for good; a change of the simulator may give a seed another story. */
export const keptSeeds: readonly { readonly seed: number; readonly profile?: Profile; readonly found: string }[] = [
  {
    seed: 235,
    found: 'a node whose Userchain log was cut could not start: its Docchain log named anchors that it had not',
  },
  {
    seed: 245,
    found: 'a promise stored by a write that was reported as failed kept its transaction out of that gateway',
  },
  { seed: 460, found: 'an answer stored by a write that was reported as failed was never given' },
  { seed: 607, found: 'a gateway whose clock had been a year ahead never answered what it promised then' },
  {
    seed: 3_026,
    found: 'a node that started forgot for a second which size was published, and staged under an old anchor',
  },
  {
    ...{ seed: 200_048, profile: 'governed' },
    found: 'a node that left the policy while it read the register went on to take a term, as a leader of no rank',
  },
  {
    ...{ seed: 1_500_096, profile: 'governed' },
    found:
      'with q = 3 of 5 a block that only its leader had staged, by a clock a year ahead, was proposed again and decided',
  },
  {
    ...{ seed: 2_006_861, profile: 'disk' },
    found: 'a node that had lost its log said of transactions that it had answered for that it did not know them',
  },
  {
    ...{ seed: 3_004_189, profile: 'bad-node' },
    found:
      'a node that was behind waited ten seconds for a dead peer, and a leader that had promised a later term went on to ask for acks',
  },
  {
    ...{ seed: 20_004_590, profile: 'bad-node' },
    found:
      'peers were told once of what waits, and had not heard it: nobody took over from a leader whose block had grown too old to be staged',
  },
]
