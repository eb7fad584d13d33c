/**
 * What may still come on a line whose frames carry no transaction identifier: answers to requests that were given up,
 * and answers given already that come once more. Such an answer fits every request of the same shape, so what was
 * given up is held against its likes until it cannot come any more, and what was given is remembered byte for byte.
 */
import { partOf, wordAt } from './bytes.js';
import type { Exchange } from './exchange.js';
import { FUNCTION } from './protocol.js';

/** A right frame, as a framing found it. */
export interface Frame {
  readonly unitId: number;
  readonly pdu: Uint8Array;
  readonly pduStart: number;
  readonly pduEnd: number;
}

export interface Suspect {
  readonly exchange: Exchange;
  readonly untilMs: number;
  /** It was answered by what may have been a repetition: only others are to fear what comes next. */
  readonly sparesItself: boolean;
}

/** What was asked of a unit and may still be answered, until a monotonic time: nobody else must take that for his answer. */
export interface Owed {
  readonly unitId: number;
  readonly pdu: Uint8Array;
  readonly untilMs: number;
}

interface Given {
  readonly exchange: Exchange;
  readonly pdu: Uint8Array;
  readonly atMs: number;
}

/** What a stretch of a device is known to hold: it was read, or it was written just now. */
interface Known {
  readonly unitId: number;
  /** Of the reads that would show it. */
  readonly functionCode: number;
  readonly address: number;
  readonly quantity: number;
  /** As an answer carries it, without its byte count. */
  readonly data: Uint8Array;
}

/** How late answers of a unit have been, and until when that is to be reckoned with. */
interface Lateness {
  readonly ms: number;
  readonly untilMs: number;
}

const SUSPECTS_MAX = 512;
/** For so long it is known of what is not held back any more whose answer could still come. */
const FADED_MS = 6000;
const FADED_MAX = 64;
/** Room for the next one to be later than the last. */
const LATENESS_SLACK = 1.25;
/** A unit that has not been that late for so long is not expected to be any more. */
const LATENESS_KEPT_MS = 600_000;
/** For so long an answer may come once more and be taken for that of another request of its shape. */
const REPEAT_MS = 1000;
/** For so long an answer that comes again is surely no late one. */
const ECHO_MS = 300;
/** After a repetition was seen more of them are expected for so long. */
const REPEATING_MS = 60_000;
const RECENT_MAX = 64;
/** What so many requests have shown is kept, the newest of each. */
const REQUESTS_MAX = 512;

export class Latecomers {
  #suspects: Suspect[] = [];
  /** What came, as it seemed, or was not to be expected any more; the newest last. */
  #faded: Exchange[] = [];
  /** Of units that answered when nobody expected that any more. */
  readonly #lateness = new Map<number, Lateness>();
  /** The newest last. */
  readonly #recent: Given[] = [];
  /** By request, the least recently answered first. */
  readonly #known = new Map<string, Known>();
  #repeatingUntilMs = -Infinity;
  /** Until when each unit that answered twice is expected to do so again. */
  readonly #repeaters = new Map<number, number>();

  get hasSuspects(): boolean {
    return this.#suspects.length > 0;
  }

  get owed(): Owed[] {
    return this.#suspects.map(({ exchange: { unitId, pdu }, untilMs }) => ({ unitId, pdu, untilMs }));
  }

  // Answers that did not come.

  suspect(exchange: Exchange, untilMs: number): void {
    this.#add({ exchange, untilMs, sparesItself: false });
  }

  /** Its answer came, if damaged: nothing more can come, unless this is a line on which answers come twice. */
  spoiled(exchange: Exchange, nowMs: number): void {
    if (nowMs < this.#repeatingUntilMs)
      this.#add({ exchange, untilMs: nowMs + REPEAT_MS, sparesItself: true });
  }

  /** Until when a request of this shape could be answered by what was meant for another; 0: it cannot. */
  heldUntilMs(exchange: Exchange): number {
    let heldMs = 0;
    for (const suspect of this.#suspects) {
      if (suspect.untilMs <= heldMs || !suspect.exchange.isLike(exchange)) continue;
      if (suspect.sparesItself && isSameRequest(suspect.exchange, exchange)) continue;
      heldMs = suspect.untilMs;
    }
    return heldMs;
  }

  expire(nowMs: number): void {
    if (!this.hasSuspects) return;
    for (const suspect of this.#suspects) if (suspect.untilMs <= nowMs) this.#fade(suspect);
    this.#suspects = this.#suspects.filter(({ untilMs }) => untilMs > nowMs);
  }

  /** Whether this, which nobody asked for, answers what was given up for good: from now on its unit is waited for so long. */
  isBelated(frame: Frame, nowMs: number): boolean {
    const index = this.#faded.findLastIndex((exchange) => fits(exchange, frame) === 'answer');
    const exchange = this.#faded[index];
    if (exchange === undefined || nowMs - exchange.sentAtMs > FADED_MS) return false;
    this.#faded.splice(index, 1);
    const ms = LATENESS_SLACK * (nowMs - exchange.sentAtMs);
    const knownMs = this.latenessMs(frame.unitId, nowMs);
    this.#lateness.set(frame.unitId, { ms: Math.max(ms, knownMs), untilMs: nowMs + LATENESS_KEPT_MS });
    return true;
  }

  /** From when a request was sent, for how long its unit is known to answer it nevertheless; 0: nothing is known. */
  latenessMs(unitId: number, nowMs: number): number {
    const lateness = this.#lateness.get(unitId);
    return lateness === undefined || lateness.untilMs < nowMs ? 0 : lateness.ms;
  }

  #fade({ exchange, sparesItself }: Suspect): void {
    if (sparesItself) return;
    this.#faded.push(exchange);
    if (this.#faded.length > FADED_MAX) this.#faded.shift();
  }

  someSuspect(test: (exchange: Exchange) => boolean): boolean {
    return this.#suspects.some(({ exchange }) => test(exchange));
  }

  /** Whether this may be the late answer to something. */
  isSuspected(frame: Frame): boolean {
    return this.someSuspect((exchange) => fits(exchange, frame) !== 'mismatch');
  }

  /**
   * Whose late answer this is; null when it is none, or one that is repeated. Of several that of the newest: another
   * master who lost an answer and asks again and again would else leave one behind each time, and nobody his turn.
   */
  lateFor(frame: Frame, nowMs: number): Suspect | null {
    const suspect = this.#suspects.findLast(({ exchange }) => fits(exchange, frame) === 'answer');
    return suspect === undefined || this.#isSeenLately(frame, nowMs, ECHO_MS) ? null : suspect;
  }

  /** Its late answer came, or that to an earlier request of its shape. */
  clear(suspect: Suspect): void {
    if (this.#suspects.includes(suspect)) this.#fade(suspect);
    this.#suspects = this.#suspects.filter((other) => other !== suspect);
  }

  // Answers that came.

  /** True when it was perhaps given before, and the exchange's own answer is still to come. */
  given(exchange: Exchange, frame: Frame, atMs: number): boolean {
    const isDoubtful = atMs < this.#repeatingUntilMs && this.#isSeenLately(frame, atMs, REPEAT_MS);
    if (isDoubtful) this.#add({ exchange, untilMs: atMs + REPEAT_MS, sparesItself: true });
    const given = { exchange, pdu: frame.pdu.slice(frame.pduStart, frame.pduEnd), atMs };
    this.#recent.push(given);
    if (this.#recent.length > RECENT_MAX) this.#recent.shift();
    const known = knownBy(given);
    if (known !== null) this.#learn(keyOf(exchange), known);
    return isDoubtful;
  }

  #learn(key: string, known: Known): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size <= REQUESTS_MAX) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      break;
    }
  }

  /** Whether this, which nobody asked for just now, is byte for byte an answer that was given lately. */
  isRepeated(frame: Frame, nowMs: number): boolean {
    const isSeen = this.#isSeenLately(frame, nowMs, REPEAT_MS);
    if (isSeen) this.#repeats(frame.unitId, nowMs);
    return isSeen;
  }

  /** Whether this unit may answer a second time right after the first. */
  isRepeater(unitId: number, nowMs: number): boolean {
    return nowMs < (this.#repeaters.get(unitId) ?? -Infinity);
  }

  /**
   * Whether this answer is, byte for byte, the one that another request of the same shape was given a moment ago,
   * though this request was not known to be answered so: a repetition, or two stretches that have just become equal.
   * Only of reads: any two writes of the same registers are answered alike, whatever they write.
   */
  isTwin(exchange: Exchange, frame: Frame, nowMs: number): boolean {
    if (!isRead(exchange)) return false;
    const isOfAnother = this.#recent.some(
      (given) =>
        nowMs - given.atMs < REPEAT_MS &&
        given.exchange.isLike(exchange) &&
        isSame(given, frame) &&
        !isSameRequest(given.exchange, exchange),
    );
    if (!isOfAnother || this.#isKnownAnswer(exchange, frame)) return false;
    this.#repeats(frame.unitId, nowMs);
    return true;
  }

  #repeats(unitId: number, nowMs: number): void {
    this.#repeatingUntilMs = nowMs + REPEATING_MS;
    this.#repeaters.set(unitId, this.#repeatingUntilMs);
  }

  #add(suspect: Suspect): void {
    this.#suspects.push(suspect);
    if (this.#suspects.length > SUSPECTS_MAX) this.#suspects.shift();
  }

  #isSeenLately(frame: Frame, nowMs: number, withinMs: number): boolean {
    return this.#recent.some((given) => nowMs - given.atMs < withinMs && isSame(given, frame));
  }

  /** Whether what was learnt last of the stretch that this one reads says the same. */
  #isKnownAnswer(exchange: Exchange, frame: Frame): boolean {
    let part: Uint8Array | null = null;
    for (const known of this.#known.values()) part = heldFor(known, exchange) ?? part;
    return part !== null && Buffer.compare(part, frame.pdu.subarray(frame.pduStart + 2, frame.pduEnd)) === 0;
  }
}

function isRead({ functionCode }: Exchange): boolean {
  return functionCode >= FUNCTION.readCoils && functionCode <= FUNCTION.readInputRegisters;
}

function fits(exchange: Exchange, { unitId, pdu, pduStart, pduEnd }: Frame): ReturnType<Exchange['check']> {
  return exchange.unitId === unitId ? exchange.check(pdu, pduStart, pduEnd) : 'mismatch';
}

function isSame({ exchange, pdu }: Given, frame: Frame): boolean {
  return (
    exchange.unitId === frame.unitId &&
    pdu.length === frame.pduEnd - frame.pduStart &&
    Buffer.compare(pdu, frame.pdu.subarray(frame.pduStart, frame.pduEnd)) === 0
  );
}

function isSameRequest(a: Exchange, b: Exchange): boolean {
  return a.unitId === b.unitId && Buffer.compare(a.pdu, b.pdu) === 0;
}

function keyOf({ unitId, pdu }: Exchange): string {
  return `${unitId}:${Buffer.from(pdu.buffer, pdu.byteOffset, pdu.length).toString('latin1')}`;
}

function knownBy({ exchange, pdu: answer }: Given): Known | null {
  const { unitId, functionCode, pdu } = exchange;
  const address = wordAt(pdu, 1);
  switch (functionCode) {
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
      return { unitId, functionCode, address, quantity: wordAt(pdu, 3), data: answer.subarray(2) };
    case FUNCTION.writeRegister:
    case FUNCTION.writeRegisters: {
      const isOne = functionCode === FUNCTION.writeRegister;
      const [quantity, data] = isOne ? [1, pdu.slice(3)] : [wordAt(pdu, 3), pdu.slice(6)];
      return { unitId, functionCode: FUNCTION.readHoldingRegisters, address, quantity, data };
    }
    case FUNCTION.writeCoil:
    case FUNCTION.writeCoils: {
      const isOne = functionCode === FUNCTION.writeCoil;
      const [quantity, data] = isOne
        ? [1, Uint8Array.of(pdu[3] === 0 ? 0 : 1)]
        : [wordAt(pdu, 3), pdu.slice(6)];
      return { unitId, functionCode: FUNCTION.readCoils, address, quantity, data };
    }
    default:
      return null;
  }
}

/** What a read of less would have been given of it; null when it does not hold all of that. */
function heldFor(known: Known, wanted: Exchange): Uint8Array | null {
  if (known.unitId !== wanted.unitId || known.functionCode !== wanted.functionCode) return null;
  const from = wordAt(wanted.pdu, 1) - known.address;
  const quantity = wordAt(wanted.pdu, 3);
  if (from < 0 || from + quantity > known.quantity) return null;
  return partOf(known.data, known.functionCode < FUNCTION.readHoldingRegisters, from, quantity);
}
