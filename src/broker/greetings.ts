/**
 * TLS that is spoken with a few in a turn of the loop. The answer to a ClientHello is signed, which takes milliseconds with
 * an RSA key, and after a power cut, or in an attack, hundreds arrive at once. Whose ClientHello is there is answered in the
 * order they came, for a part of each turn.
 */
import type { Server, Socket } from 'node:net';

/** Of one turn; one is answered in each. */
const TURN_MS = 5;
/** A record's header: its kind, a version, and how many bytes follow; no record has more of them [RFC 8446 5.1]. */
const HEADER_BYTES = 5;
const HANDSHAKE = 22;
const RECORD_MAX = 16_384;

type Speak = (this: Server, socket: Socket) => void;

/** For a server of TLS that was just made; who has not sent a ClientHello in time is cut off. */
export function greetInTurns(server: Server, timeoutMs: number): void {
  const greetings = new Greetings(server, timeoutMs);
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => greetings.arrived(socket));
}

class Greetings {
  readonly #server: Server;
  readonly #timeoutMs: number;
  /** What the server does with a socket; it begins to read in the next tick. */
  readonly #speak: Speak;
  readonly #waiting: Socket[] = [];
  #isAtWork = false;

  constructor(server: Server, timeoutMs: number) {
    const [speak] = server.listeners('connection');
    this.#server = server;
    this.#timeoutMs = timeoutMs;
    // The only listener that a server is made with.
    this.#speak = speak as Speak;
  }

  arrived(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), this.#timeoutMs);
    let hello = Buffer.alloc(0);
    const read = (): void => {
      for (let part = socket.read() as Buffer | null; part !== null; part = socket.read() as Buffer | null)
        hello = Buffer.concat([hello, part]);
      if (!isWhole(hello)) return;
      clearTimeout(timer);
      socket.off('readable', read);
      socket.unshift(hello);
      this.#waiting.push(socket);
      this.#begin();
    };
    socket.on('readable', read);
    socket.on('error', () => {});
    socket.once('close', () => clearTimeout(timer));
  }

  #begin(): void {
    if (this.#isAtWork) return;
    this.#isAtWork = true;
    setImmediate(() => this.#greet(performance.now()));
  }

  #greet(sinceMs: number): void {
    const socket = this.#waiting.shift();
    if (socket === undefined) {
      this.#isAtWork = false;
      return;
    }
    if (!socket.destroyed) this.#speak.call(this.#server, socket);
    // Behind the tick in which it is answered.
    process.nextTick(() => {
      if (performance.now() - sinceMs < TURN_MS) this.#greet(sinceMs);
      else setImmediate(() => this.#greet(performance.now()));
    });
  }
}

/** Whether the first record is there, or what will never be one. */
function isWhole(bytes: Buffer): boolean {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return true;
  if (bytes.length < HEADER_BYTES) return false;
  const length = bytes.readUInt16BE(3);
  return length > RECORD_MAX || bytes.length >= HEADER_BYTES + length;
}
