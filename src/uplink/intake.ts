/**
 * What a far side sends, on its way to the client library, which takes all that it is given at once and keeps all of a
 * packet before it looks at it: here it is given some packets a turn, so that others have their turns, and none that is
 * larger than is taken.
 */
import type { Readable, Writable } from 'node:stream';

/** More than are acknowledged at once: those of a connection that breaks are not to be cut in two. */
const PACKETS_A_TURN = 256;

export class Intake {
  readonly #source: Readable;
  readonly #sink: Writable;
  readonly #maximumBytes: number;
  readonly #refuse: (length: number) => void;
  /** Of the packet under way: what is still to come, once its length is known. */
  #leftBytes = 0;
  #length = 0;
  /** What the next digit of the length counts; 0: the packet's first byte is still to come. */
  #factor = 0;

  /** refuse is told the length of a packet that is too large; nothing more is taken then. */
  constructor(source: Readable, sink: Writable, maximumBytes: number, refuse: (length: number) => void) {
    this.#source = source;
    this.#sink = sink;
    this.#maximumBytes = maximumBytes;
    this.#refuse = refuse;
    source.on('data', (bytes: Buffer) => this.#take(bytes));
  }

  #take(bytes: Buffer): void {
    if (this.#source.destroyed || this.#leftBytes > this.#maximumBytes) return;
    const end = this.#walk(bytes);
    if (this.#leftBytes > this.#maximumBytes) return this.#refuse(this.#leftBytes);
    const isTaken = this.#sink.write(bytes.subarray(0, end), () => {
      if (end < bytes.length) setImmediate(() => this.#take(bytes.subarray(end)));
      else if (this.#source.isPaused()) this.#source.resume();
    });
    if (!isTaken || end < bytes.length) this.#source.pause();
  }

  /** Where a turn's packets end, or one that is too large begins to be told. */
  #walk(bytes: Buffer): number {
    let at = 0;
    for (let count = 0; at < bytes.length && count < PACKETS_A_TURN;) {
      if (this.#leftBytes > 0) {
        const more = Math.min(this.#leftBytes, bytes.length - at);
        this.#leftBytes -= more;
        at += more;
      } else if (this.#isWhole(bytes[at++] ?? 0)) {
        count++;
        if (this.#leftBytes > this.#maximumBytes) return at;
      }
    }
    return at;
  }

  /** Takes a byte of the fixed header; whether it is the last one. What is no length is told by the library. */
  #isWhole(byte: number): boolean {
    if (this.#factor === 0) {
      this.#factor = 1;
      this.#length = 0;
      return false;
    }
    this.#length += (byte & 0x7f) * this.#factor;
    this.#factor *= 128;
    if (byte >= 0x80) return false;
    this.#leftBytes = this.#length;
    this.#factor = 0;
    return true;
  }
}
