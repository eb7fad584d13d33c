/**
 * The sending side of one TCP connection: answers leave whole, one after the other, in the order in which they became
 * ready; one that is sent in pieces holds up those behind it, as in any program that writes to a socket.
 */
import type { Clock } from '../clock.js';
import type { Answer, Station } from './station.js';

export interface Outgoing {
  write(bytes: Uint8Array): void;
  end(how: 'fin' | 'rst'): void;
  /** An answer has left, or none will. */
  done(): void;
}

export class Outlet {
  readonly #station: Station;
  readonly #clock: Clock;
  readonly #outgoing: Outgoing;
  readonly #ready: Answer[] = [];
  #isBusy = false;

  constructor(station: Station, clock: Clock, outgoing: Outgoing) {
    this.#station = station;
    this.#clock = clock;
    this.#outgoing = outgoing;
  }

  /** Sends the answer once the unit has thought, and the fault has had its delay. */
  send(answer: Answer): void {
    this.#later(answer.turnaroundMs + answer.delivery.delayMs, () => {
      this.#ready.push(answer);
      if (!this.#isBusy) this.#next();
    });
  }

  #next(): void {
    const answer = this.#ready.shift();
    this.#isBusy = answer !== undefined;
    if (answer !== undefined) this.#piece(answer, 0);
  }

  #piece(answer: Answer, index: number): void {
    const { pieces, end } = answer.delivery;
    const piece = pieces[index];
    if (piece === undefined) {
      this.#outgoing.done();
      if (end !== 'none') this.#outgoing.end(end);
      this.#next();
      return;
    }
    // Whoever reads may have it before the call that sends it has returned.
    if (index === pieces.length - 1) this.#station.transcript.answered(answer.exchange, this.#station.atMs());
    this.#outgoing.write(piece.bytes);
    this.#later(pieces[index + 1]?.pauseMs ?? 0, () => this.#piece(answer, index + 1));
  }

  #later(delayMs: number, callback: () => void): void {
    if (delayMs <= 0) callback();
    else this.#clock.after(delayMs, callback);
  }
}
