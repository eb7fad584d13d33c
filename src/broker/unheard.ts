/**
 * Clients of version 3.1.1 a message of which was refused: they cannot be told, and send again only on a new connection.
 * While the store takes nothing a new connection would help nobody; once it takes messages again theirs is closed, and
 * until then it takes none of theirs, for what they send again must come before what they send later.
 */
import type { Client } from './client.js';
import type { Core } from './core.js';

/** How often it is looked whether the store takes messages again. */
const LOOK_MS = 1000;
const QUOTA_EXCEEDED = 0x97;

export class Unheard {
  readonly #core: Core;
  #clients: Set<Client> | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  has(client: Client): boolean {
    return this.#clients !== null && this.#clients.has(client);
  }

  /** A message of this client was refused. */
  add(client: Client): void {
    if (this.#clients === null) {
      this.#clients = new Set();
      this.#lookLater();
    }
    this.#clients.add(client);
  }

  #lookLater(): void {
    this.#core.clock.after(LOOK_MS, () => this.#look());
  }

  #look(): void {
    const clients = this.#clients ?? new Set();
    for (const client of clients) if (!client.isOpen) clients.delete(client);
    if (clients.size === 0 || this.#core.isStopped) this.#clients = null;
    else if (!this.#core.store.isHealthy) this.#lookLater();
    else {
      this.#clients = null;
      for (const client of clients)
        client.fail(QUOTA_EXCEEDED, 'a message was refused: it has to be sent again');
    }
  }
}
