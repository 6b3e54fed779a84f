/** Findings for people who did not build the ledger: what each means, and what to do about it (SPEC.md §3). */

/** What a finding means, whoever it names. */
export interface FindingGuide {
  /** `proof`: somebody did wrong, and this shows it. `damage`: what a node has is not what it should be. `away`: something could not be looked at, or is late; it may pass. */
  readonly weight: 'proof' | 'damage' | 'away'
  /** One or two sentences. */
  readonly means: string
  /** What to do. */
  readonly next: string
}

const own = 'The ledger itself is whole: other nodes have the true bytes, and readers leave this node alone.'
const heal =
  'Have its operator look at the disk and at who had access; a healthy node heals from the others and keeps an incident.'
const keep = 'Keep the report and tell every organisation of the consortium: it needs no trust in whoever made it.'
const wait = 'Audit again in some minutes; if it stays, tell its operator.'
const judged = 'A quorum of nodes signed a block that breaks the ledger’s own rules: do not rely on anything after it.'

function proof(means: string, next = keep): FindingGuide {
  return { weight: 'proof', means, next }
}
function damage(means: string, next = heal): FindingGuide {
  return { weight: 'damage', means, next }
}
function away(means: string, next = wait): FindingGuide {
  return { weight: 'away', means, next }
}

/** By code; `….*` stands for all codes that begin so. */
const guides: Readonly<Record<string, FindingGuide>> = {
  'node.unreachable': away('This node does not answer. The others go on without it as long as a quorum runs.'),
  'node.refused': away('This node does not take your credential.', 'Ask its operator for a token that it takes.'),
  'node.behind': away('This node shows fewer entries than others and did not catch up while it was asked.'),
  'checkpoint.invalid': damage(
    'What this node shows as the head of the ledger is not signed by enough nodes, or is not readable.',
  ),
  'checkpoint.log-line': damage(
    'This node serves a head without the signature of its own log key: it has lost it, or the organisations removed the node or gave it other keys.',
    'Have its operator look at its keys: ./healthblock org node --switch puts new ones in force, --drop ends a node that was removed.',
  ),
  'checkpoint.stale': away(
    'Nodes sign the head anew every minute; nobody has for a while. Nothing newer is confirmed.',
  ),
  'checkpoint.fork': proof('A quorum signed two different histories. This cannot happen while most nodes are honest.'),
  'node.equivocation': proof(
    'This node signed two different contents for the same place of the ledger. That is never an accident of the network.',
  ),
  'node.conflict': proof('This node signed a history that the ledger does not have.'),
  'promise.broken': proof(
    'This node took a transaction, promised an answer, and gave none.',
    'Ask it for its signed refusal or deferral, which it must keep for 30 days; send the transaction to another node.',
  ),
  'promise.late': damage(
    'This node took a transaction and let its deadline pass; it came on record later. A node that was stopped and started again meanwhile does so, too.',
    'Nothing is lost. If it happens often, use another node and tell its operator.',
  ),
  'promise.forged': damage(
    'A promise that you gave was signed by no node of this ledger.',
    'Ask whoever gave it to you where it comes from.',
  ),
  'refusal.false': proof('This node signed that a transaction is refused although it stands on the ledger.'),
  'read.ungranted': proof(
    'Somebody fetched a patient’s sealed block without a grant that allows it. Without keys the block stays sealed.',
    'Tell the patient, and the organisation of whoever fetched.',
  ),
  'fetches.forged': damage(
    'A page of fetches that you gave was signed by no store of this ledger.',
    'Ask whoever gave it to you where it comes from.',
  ),
  'log.unavailable': away('No node shows a head of this chain that holds, so it could not be looked at.'),
  'log.shorter': proof('An earlier audit saw more entries than any node shows now: something was taken away.'),
  'log.root': proof('The entries that nodes serve are not those that the quorum signed.'),
  'entry.altered': damage(`This node serves an entry with other bytes than were signed. ${own}`),
  'entry.malformed': damage(`This node serves entries that cannot be read. ${own}`),
  'entry.missing': away('This node does not serve some entries; others do.'),
  'entry.unavailable': damage(
    'No node has the true bytes of an entry, so the ledger could not be checked beyond it.',
    'Ask every operator for a backup of this place; the signed tree tells which copy is true.',
  ),
  'tile.mismatch': damage(`This node serves wrong hashes of the tree over the entries. ${own}`),
  'tile.missing': away('This node does not serve some hashes of the tree; others do.'),
  'tile.root': damage('No node’s hashes give the tree that the quorum signed; the entries were compared without them.'),
  'block.unreadable': proof(judged),
  'block.seal.missing': proof(`${judged} (Its end is missing.)`),
  'block.anchor-unknown': damage(
    'Docchain speaks of entries of Userchain that no node shows: some of Userchain is being held back, or late.',
    wait,
  ),
  'block.*': proof(judged),
  'incident.forged': damage('A node lists an incident that no node signed.'),
  'incident.unavailable': away('This node does not tell what it found in its own files.'),
  'incident.*': damage(
    'The node itself found that its files had been changed or damaged, and says what it did about it.',
    'Look at it with ./healthblock ledger incidents; once it is understood, ./healthblock ledger acknowledge takes it off.',
  ),
  'succession.missing': away('This ledger carries on another one, and this node does not show by whose decision.'),
  'succession.invalid': damage('What this node shows of the decision to carry on another ledger does not hold.'),
  'succession.behind': proof('This ledger carries on less of the one before it than had been confirmed.'),
  'succession.rival': proof('Two ledgers claim to carry on the same one, and organisations approved both.'),
  'policy.fork': proof('Nodes show two different histories of who governs.'),
  'evidence.*': proof(
    'It stands on the ledger itself that this node did wrong, and the organisations have neither removed it nor replaced its keys.',
    'The organisations decide: ./healthblock org suspend, or new keys.',
  ),
  'rule.anchor-lag': damage(
    'Diagnoses were judged by an older state of consent than they should have been.',
    'Ask the operator of the leader of that time; a revocation in between took effect late.',
  ),
  'rule.anchor-due': damage(
    'An access was ended, and the ledger of diagnoses does not know it yet. None can be posted there meanwhile, and nobody can say “refused everywhere”.',
    'Ask the operators why nothing is sealed on Docchain; ./healthblock org suspend replaces a node that holds it up.',
  ),
  'rule.envelope-late': away(
    'A doctor has access and did not get the keys for it in time.',
    'The patient’s node should send them; the doctor can ask.',
  ),
  'rule.envelope-after-close': proof('Keys were addressed to somebody whose access had ended.'),
  'rule.close-without-rotation': proof(
    'An access was ended and the keys were not changed, so the old ones still open new readings.',
    'Change the keys now, on the patient’s page or with ./healthblock patient revoke.',
  ),
  'rule.cut-gap': proof('The border between old and new keys of a stream is missing or goes back.'),
  'rule.record-sequence': proof('Readings of a stream have a hole or stand out of order.'),
  'rule.record-outside-cut': proof('A reading stands under keys that were not in force for it.'),
  'rule.diagnosis-after-close': proof('A diagnosis was accepted from a doctor whose access had ended.'),
  'rule.algorithm-name': proof(
    'An organisation registered a program under a name that is not its own. Its diagnoses hold; but who looks for them by the program’s name does not find them.',
    'Ask the organisation. ./healthblock recall HASH finds what the program said. If it was done to bar its maker: another version has another hash.',
  ),
  'storage.missing': damage(
    'No storage node has a sealed block that the ledger names.',
    'Look whether all storage nodes run and repair; the patient’s node may still hold it.',
  ),
  'storage.kept': damage(
    'A storage node still has a block that its patient erased more than three days ago.',
    'Have its operator remove it.',
  ),
  'diagnosis.differs': proof(
    'The machine’s diagnosis, made again from the same readings, comes out differently: it was altered, or not made by that program.',
    'Ask the doctor’s node for its version and records; keep the disclosed keys.',
  ),
  'diagnosis.mismatch': proof(
    'A diagnosis says inside that it is of other readings or another program than the ledger says.',
  ),
  'diagnosis.carried': proof('A diagnosis builds on another earlier one than it names.'),
  'diagnosis.unreadable': damage(
    'A stored diagnosis does not open with the disclosed keys.',
    'Ask for it at another storage node; if none has it right, its doctor has to answer.',
  ),
  'diagnosis.malformed': proof('A stored block opens and holds no diagnosis.'),
  'record.unreadable': damage(
    'A reading that a diagnosis rests on does not open with the disclosed keys.',
    'Ask the patient’s node for it.',
  ),
  'unreadable.false': proof('A doctor’s node said that a reading cannot be read, and it can.'),
  'witness.ahead': away(
    'A witness outside the ledger says that it has seen more than any node shows: something is hidden, or the witness is wrong.',
    'Ask nodes from another place and another network; ask the witness’s keeper.',
  ),
  'witness.fork': proof('A witness outside the ledger signed another history than the one shown to you.'),
  'witness.invalid': away(
    'A witness answers what no correct one does.',
    'Ask its keeper; it counts for nothing until then.',
  ),
  'state.mismatch': proof('This node proves another state, such as of a grant, than the entries give.'),
}

/** What a finding of this code means. Every code of SPEC.md §3 has a guide. */
export function guideOf(code: string): FindingGuide | undefined {
  return guides[code] ?? guides[`${code.slice(0, code.indexOf('.'))}.*`]
}

/** Codes that have a guide, `….*` among them. */
export const guidedCodes: readonly string[] = Object.keys(guides)
