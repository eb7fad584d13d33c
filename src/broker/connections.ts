/** All open connections, and how many more there may be, in all and from one host. */
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { descriptorRoom } from './descriptors.js';
import type { BrokerLimits } from './limits.js';

export class Connections implements Iterable<Connection> {
  readonly #limits: BrokerLimits;
  readonly #all = new Set<Connection>();
  /** Sockets that are no clients yet, by address and port. */
  readonly #arrivals = new Set<string>();
  /** Connections and arrivals of each host. */
  readonly #perHost = new Map<string, number>();
  readonly #descriptorRoom: number;
  #maximum = 0;
  #endedCount = 0;

  constructor(limits: BrokerLimits, descriptorsElsewhere: number) {
    this.#limits = limits;
    this.#descriptorRoom = Math.max(1, descriptorRoom() - descriptorsElsewhere);
  }

  get count(): number {
    return this.#all.size;
  }

  /** The most there ever were at once. */
  get maximum(): number {
    return this.#maximum;
  }

  /** How many there were that are not any more. */
  get endedCount(): number {
    return this.#endedCount;
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.#all.values();
  }

  /** Who arrived has his place already. */
  hasRoom(host: string, address: string): boolean {
    return this.#arrivals.has(address) || !this.#isCrowded(host);
  }

  #isCrowded(host: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    return (
      this.#all.size + this.#arrivals.size >= Math.min(maxConnections, this.#descriptorRoom) ||
      (this.#perHost.get(host) ?? 0) >= maxConnectionsPerAddress
    );
  }

  /** A socket that must speak TLS or HTTP before it can be a client; it takes a place from its first moment on. */
  arrived(socket: Socket, host: string, address: string): void {
    this.#arrivals.add(address);
    this.#count(host, 1);
    socket.once('close', () => {
      if (this.#arrivals.delete(address)) this.#count(host, -1);
    });
  }

  #count(host: string, change: 1 | -1): void {
    const count = (this.#perHost.get(host) ?? 0) + change;
    if (count > 0) this.#perHost.set(host, count);
    else this.#perHost.delete(host);
  }

  add(connection: Connection): void {
    this.#all.add(connection);
    // Who arrived was counted then.
    if (!this.#arrivals.delete(connection.address)) this.#count(connection.host, 1);
    this.#maximum = Math.max(this.#maximum, this.#all.size);
  }

  delete(connection: Connection): void {
    if (!this.#all.delete(connection)) return;
    this.#endedCount++;
    this.#count(connection.host, -1);
  }

  /** The one whose reader is furthest behind; null: none is. */
  get slowest(): Connection | null {
    let slowest: Connection | null = null;
    for (const connection of this.#all) {
      if (connection.pendingBytes > (slowest?.pendingBytes ?? 0)) slowest = connection;
    }
    return slowest;
  }
}
