/** Shared subscriptions: whose turn it is in a group, and who was chosen for the publication under way. */
import type { QoS } from './message.js';
import { type Group, groupKey, type Owner } from './route.js';
import type { Session } from './session.js';
import type { Entry } from './subscriptions.js';

/** A member of a group. */
export interface Member {
  readonly session: Session;
  readonly entry: Entry<Owner>;
}

export class Shares {
  readonly #turns = new Map<string, number>();
  /** Who gets the publication of each group, by its key, chosen before it was appended. */
  #chosen: Map<string, Member | null> | null = null;

  /** Groups whose turn is known. */
  get count(): number {
    return this.#turns.size;
  }

  /** A member left: the others begin again, and nothing stays of a group that nobody is in any more. */
  left(entry: Entry<unknown>): void {
    if (entry.share !== '') this.#turns.delete(groupKey(entry));
  }

  /**
   * The member whose turn it is: one that can take it now, else one that it waits for, the rather one who is here. At QoS 0
   * it waits for nobody: such a member has it only when there is no other.
   */
  choose({ members, key }: Group, qos: QoS): Member | null {
    const turn = this.#turns.get(key) ?? 0;
    this.#turns.set(key, (turn + 1) % 0x40000000);
    let away: Member | null = null;
    let busy: Member | null = null;
    let loser: Member | null = null;
    for (let i = 0; i < members.length; i++) {
      const member = members[(turn + i) % members.length];
      if (member === undefined) continue;
      const { session, entry } = member;
      if (session.hasRoom) return member;
      const isHere = session.link !== null;
      if (qos === 0 || entry.qos === 0) loser = isHere ? member : (loser ?? member);
      else if (isHere) busy ??= member;
      else if (session.isKept) away ??= member;
    }
    return busy ?? away ?? loser;
  }

  /** Chooses for all groups of a publication, by their keys, so that its record can name them. */
  chooseAll(groups: readonly Group[], qos: QoS): Iterable<[string, Member | null]> {
    this.#chosen = new Map(groups.map((group) => [group.key, this.choose(group, qos)]));
    return this.#chosen;
  }

  /** Nobody gets the publication for this group, though somebody was chosen. */
  withdraw(key: string): void {
    this.#chosen?.set(key, null);
  }

  /** Who was chosen for a group, or is now; null: nobody can take it. */
  memberOf(group: Group, qos: QoS): Member | null {
    const already = this.#chosen?.get(group.key);
    return already === undefined ? this.choose(group, qos) : already;
  }

  /** The publication was handed out. */
  forgetChosen(): void {
    this.#chosen = null;
  }
}
