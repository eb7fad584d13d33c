/**
 * The doors that clients come in by: MQTT listeners and the web page. All are opened last and closed first. One whose
 * address is taken, or not there yet at boot, is tried again while everything else runs.
 */
import type { Cancel, Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { Log } from '../log.js';

const RETRY_MS = 2000;
/** What may pass by itself: another process goes, an interface gets its address. */
const PASSING = new Set(['EADDRINUSE', 'EADDRNOTAVAIL']);

export interface Door {
  /** As configured, such as "mqtt 127.0.0.1:1883". */
  readonly name: string;
  /** Resolves once it accepts. */
  open(): Promise<OpenDoor>;
}

export interface OpenDoor {
  /** Where it accepts, such as "mqtt://127.0.0.1:1883". */
  readonly url: string;
  close(): Promise<void>;
  /** Reads its certificate again, and throws when it is not right; what it answers takes it over. */
  certificateRenewal(): () => void;
}

export class Entrances {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #open: OpenDoor[] = [];
  readonly #waits = new Set<{ cancel: Cancel; giveUp: () => void }>();
  #isClosed = false;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Resolves with the addresses, in the order of the doors, once every door is open; rejects when one never can be. */
  async open(doors: readonly Door[]): Promise<string[]> {
    const open = await Promise.all(doors.map((door) => this.#openOne(door)));
    return open.flatMap((door) => (door === null ? [] : [door.url]));
  }

  /** Of all that are open: throws when one of the certificates is not right, and then none is taken over. */
  certificateRenewal(): () => void {
    const renewals = this.#open.map((door) => door.certificateRenewal());
    return () => renewals.forEach((renew) => renew());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { cancel, giveUp } of this.#waits) {
      cancel();
      giveUp();
    }
    this.#waits.clear();
    await Promise.all(this.#open.splice(0).map((door) => door.close()));
  }

  /** Null when it was closed before it opened. */
  async #openOne(door: Door): Promise<OpenDoor | null> {
    let tries = 0;
    while (!this.#isClosed) {
      try {
        const open = await door.open();
        if (this.#isClosed) await open.close();
        else this.#open.push(open);
        if (tries > 0) this.#log.info('listener is open now', { listener: door.name, tries });
        return open;
      } catch (thrown) {
        if (!PASSING.has(codeOf(thrown))) throw thrown;
        tries += 1;
        if (tries === 1) {
          const error = `${messageOf(thrown)}; it is tried again every ${RETRY_MS / 1000} s`;
          this.#log.error('listener cannot be opened', { listener: door.name, error });
        }
        await this.#pause();
      }
    }
    return null;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const wait = { cancel: (): void => {}, giveUp: resolve };
      this.#waits.add(wait);
      wait.cancel = this.#clock.after(RETRY_MS, () => {
        this.#waits.delete(wait);
        resolve();
      });
    });
  }
}

/** The system's code of an error, or of what caused it. */
function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return '';
  if ('code' in thrown && typeof thrown.code === 'string' && PASSING.has(thrown.code)) return thrown.code;
  return codeOf(thrown.cause);
}
