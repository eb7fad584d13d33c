/**
 * What has come in at QoS 2, is kept here, and is not released by the far side yet: exactly once asks for knowing it over a
 * kill, too. The queue's journal keeps each step, once the store has the message: a kill between the two would lose it
 * otherwise. It belongs to a session over there; what another one numbers is something else.
 */

/**
 * u16 packet identifier, u32 what the message says: 0 when it is released. Identifier 0: only what follows counts, of this
 * session.
 */
const STEP_BYTES = 6;
const RELEASED = 0;
const BEGIN = 0;

export class Received {
  readonly #marks = new Map<number, number>();
  /** Names the session; 0: none was named yet. */
  #session = 0;
  /** Told each step, as bytes. */
  changed: (steps: Buffer) => void = () => {};

  /** Whether the message with this identifier, which says this, is here. */
  has(identifier: number, mark: number): boolean {
    return this.#marks.get(identifier) === mark;
  }

  /** The mark is not 0. */
  add(identifier: number, mark: number): void {
    if (!this.has(identifier, mark)) this.#take(identifier, mark);
  }

  release(identifier: number): void {
    if (this.#marks.has(identifier)) this.#take(identifier, RELEASED);
  }

  /** The far side has a new session. */
  clear(): void {
    if (this.#marks.size > 0) this.#take(BEGIN, this.#session);
  }

  /** Those of another session are forgotten. */
  belongTo(session: number): void {
    if (session !== this.#session) this.#take(BEGIN, session);
  }

  /** All steps that lead here; empty when there are none. */
  toBytes(): Buffer {
    if (this.#marks.size === 0 && this.#session === 0) return Buffer.alloc(0);
    return Buffer.concat([
      step(BEGIN, this.#session),
      ...[...this.#marks].map(([identifier, mark]) => step(identifier, mark)),
    ]);
  }

  /** As they were kept before. */
  restore(steps: Buffer): void {
    for (let at = 0; at + STEP_BYTES <= steps.length; at += STEP_BYTES)
      this.#apply(steps.readUInt16LE(at), steps.readUInt32LE(at + 2));
  }

  #take(identifier: number, mark: number): void {
    this.#apply(identifier, mark);
    this.changed(step(identifier, mark));
  }

  #apply(identifier: number, mark: number): void {
    if (identifier === BEGIN) {
      this.#marks.clear();
      this.#session = mark;
    } else if (mark === RELEASED) this.#marks.delete(identifier);
    else this.#marks.set(identifier, mark);
  }
}

function step(identifier: number, mark: number): Buffer {
  const bytes = Buffer.alloc(STEP_BYTES);
  bytes.writeUInt16LE(identifier);
  bytes.writeUInt32LE(mark, 2);
  return bytes;
}
