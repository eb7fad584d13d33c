/**
 * What a simulated plant heard and said, so that a test can tell not only that a value arrived but "in two reads",
 * "written once, in order", "never two at a time". Bounded: the oldest exchanges make room.
 */

export interface Exchange {
  readonly index: number;
  readonly bus: string;
  /** Number of the connection on its bus; 0 on a serial line. */
  readonly connection: number;
  /** When the request was complete, and when the answer was handed over (0: not), in ms since 1970 with fractions. */
  readonly requestedAtMs: number;
  answeredAtMs: number;
  readonly unitId: number;
  readonly functionCode: number;
  /** Of the first item, and how many; 0 where the function has none. */
  readonly address: number;
  readonly quantity: number;
  /** The request's PDU as hex. */
  readonly request: string;
  /** The exception that was answered; 0: none. */
  exception: number;
  /** The fault that struck; empty: none. */
  fault: string;
}

export interface BusCounts {
  requests: number;
  answers: number;
  exceptions: number;
  /** Frames that came without 3.5 characters of silence before them. */
  silenceViolations: number;
  /** Bytes that met others on the line. */
  collisions: number;
  /** Frames with a wrong checksum, length or protocol identifier. */
  badFrames: number;
  connections: number;
  /** Requests that came while another was being answered: on a line, or beyond what the device takes. */
  overlaps: number;
  resets: number;
  faults: number;
  /** Bytes that a black hole took. */
  swallowed: number;
  /** Milliseconds that bytes were on the line, both directions. */
  busyMs: number;
}

const EXCHANGES_MAX = 200_000;

export class Transcript {
  readonly bus: string;
  readonly counts: BusCounts = {
    requests: 0,
    answers: 0,
    exceptions: 0,
    silenceViolations: 0,
    collisions: 0,
    badFrames: 0,
    connections: 0,
    overlaps: 0,
    resets: 0,
    faults: 0,
    swallowed: 0,
    busyMs: 0,
  };
  #exchanges: Exchange[] = [];
  #nextIndex = 0;

  constructor(bus: string) {
    this.bus = bus;
  }

  request(connection: number, unitId: number, pdu: Uint8Array, atMs: number): Exchange {
    this.counts.requests++;
    const functionCode = pdu[0] ?? 0;
    const exchange: Exchange = {
      index: this.#nextIndex++,
      bus: this.bus,
      connection,
      requestedAtMs: atMs,
      answeredAtMs: 0,
      unitId,
      functionCode,
      address: pdu.length >= 5 ? ((pdu[1] ?? 0) << 8) | (pdu[2] ?? 0) : 0,
      quantity: quantityOf(functionCode, pdu),
      request: Buffer.from(pdu.buffer, pdu.byteOffset, pdu.byteLength).toString('hex'),
      exception: 0,
      fault: '',
    };
    this.#exchanges.push(exchange);
    if (this.#exchanges.length > EXCHANGES_MAX) this.#exchanges = this.#exchanges.slice(EXCHANGES_MAX / 2);
    return exchange;
  }

  answered(exchange: Exchange, atMs: number): void {
    this.counts.answers++;
    if (exchange.exception !== 0) this.counts.exceptions++;
    exchange.answeredAtMs = atMs;
  }

  /** Exchanges from an index on, oldest first. */
  since(index = 0): Exchange[] {
    return this.#exchanges.filter((exchange) => exchange.index >= index);
  }

  clear(): void {
    this.#exchanges = [];
    for (const key of Object.keys(this.counts)) this.counts[key as keyof BusCounts] = 0; // keys are its own
  }
}

function quantityOf(functionCode: number, pdu: Uint8Array): number {
  if (functionCode === 5 || functionCode === 6 || functionCode === 22) return 1;
  const hasQuantity = (functionCode >= 1 && functionCode <= 4) || [15, 16, 23].includes(functionCode);
  return hasQuantity ? ((pdu[3] ?? 0) << 8) | (pdu[4] ?? 0) : 0;
}
