/**
 * All open connections, and how many more there may be, in all and from one host. A place is taken as long as there is a
 * socket: before it is a client, and after that until the other end has let go of it, too.
 */
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { descriptorRoom } from './descriptors.js';
import type { BrokerLimits } from './limits.js';

export class Connections implements Iterable<Connection> {
  readonly #limits: BrokerLimits;
  readonly #all = new Set<Connection>();
  /** Sockets that are no clients yet, by both of their ends. */
  readonly #arrivals = new Set<string>();
  #placeCount = 0;
  /** Places of each host. */
  readonly #perHost = new Map<string, number>();
  readonly #descriptorRoom: number;
  #maximum = 0;
  #endedCount = 0;
  /** Memory for those who are not let in yet. */
  #undecidedBytes = 0;

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
  hasRoom(host: string, ends: string): boolean {
    return this.#arrivals.has(ends) || !this.#isCrowded(host);
  }

  #isCrowded(host: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    return (
      this.#placeCount >= Math.min(maxConnections, this.#descriptorRoom) ||
      (this.#perHost.get(host) ?? 0) >= maxConnectionsPerAddress
    );
  }

  /** A socket that must speak TLS or HTTP before it can be a client; it takes a place from its first moment on. */
  arrived(socket: Socket, host: string, ends: string): void {
    this.#arrivals.add(ends);
    this.#count(host, 1);
    socket.once('close', () => {
      if (this.#arrivals.delete(ends)) this.#count(host, -1);
    });
  }

  #count(host: string, change: 1 | -1): void {
    this.#placeCount += change;
    const count = (this.#perHost.get(host) ?? 0) + change;
    if (count > 0) this.#perHost.set(host, count);
    else this.#perHost.delete(host);
  }

  add(connection: Connection): void {
    this.#all.add(connection);
    // Who arrived was counted then.
    if (!this.#arrivals.delete(connection.ends)) this.#count(connection.host, 1);
    this.#maximum = Math.max(this.#maximum, this.#all.size);
  }

  /** It is over; its socket is not, as long as the other end does not let go of it. */
  delete(connection: Connection): void {
    if (this.#all.delete(connection)) this.#endedCount++;
  }

  /** Its socket is closed. */
  gone({ host }: Connection): void {
    this.#count(host, -1);
  }

  /** What those together hold who are not let in yet has changed; answers what it is now. */
  countUndecided(change: number): number {
    this.#undecidedBytes += change;
    return this.#undecidedBytes;
  }

  /** Those with the most of a packet that does not end: so many that the others have no more than this together. */
  unendedBeyond(mostBytes: number): Connection[] {
    return this.#mostOf(({ unendedBytes }) => unendedBytes, mostBytes);
  }

  /** The same of those who are not let in yet. */
  undecidedBeyond(mostBytes: number): Connection[] {
    return this.#mostOf(({ undecidedBytes }) => undecidedBytes, mostBytes);
  }

  #mostOf(bytesOf: (connection: Connection) => number, mostBytes: number): Connection[] {
    const holders = [...this.#all].filter((connection) => bytesOf(connection) > 0);
    let bytes = holders.reduce((sum, connection) => sum + bytesOf(connection), 0);
    holders.sort((one, other) => bytesOf(other) - bytesOf(one));
    const kept = holders.findIndex((connection) => {
      if (bytes <= mostBytes) return true;
      bytes -= bytesOf(connection);
      return false;
    });
    return kept < 0 ? holders : holders.slice(0, kept);
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
