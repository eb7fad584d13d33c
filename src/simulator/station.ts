/**
 * The units behind one link, and what each makes of a request: carried out or not, with or without a fault, written
 * to the transcript. Knows no sockets, no line and no time of its own: its owner delivers.
 */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../clock.js';
import { answerPdu, exceptionPdu } from '../modbus/server.js';
import type { Frame } from '../modbus/framing.js';
import { deliver, encode, plainDelivery, preventsExecution, strike, type Delivery } from './faults.js';
import type { FramingName } from './faults.js';
import { hashOf } from './random.js';
import { ANSWER_FAULTS, type BusSpec, type FaultSpec, type LinkFault } from './spec.js';
import { Transcript, type Exchange } from './transcript.js';
import { Unit } from './unit.js';

const EXCEPTION_BUSY = 6;

export interface Answer {
  readonly exchange: Exchange;
  readonly turnaroundMs: number;
  readonly delivery: Delivery;
}

export class Station {
  readonly name: string;
  readonly transcript: Transcript;
  readonly units = new Map<number, Unit>();
  #faults: readonly FaultSpec[];
  readonly #clock: Clock;
  readonly #turnaroundMs: number;
  readonly #timeOrigin: number;
  #lastUnitId = -1;
  #heardAtMs = -Infinity;

  constructor(spec: BusSpec, seed: number, clock: Clock, turnaroundMs: number, epochMs?: number) {
    this.name = spec.name;
    this.transcript = new Transcript(spec.name);
    this.#faults = spec.faults ?? [];
    this.#clock = clock;
    this.#turnaroundMs = turnaroundMs;
    this.#timeOrigin = epochMs === undefined ? performance.timeOrigin : epochMs + startedMs();
    for (const unit of spec.units) {
      this.units.set(
        unit.unitId,
        new Unit(unit, (seed ^ hashOf(`${spec.name}:${unit.unitId}`)) >>> 0, clock),
      );
    }
  }

  /** Time for the transcript: ms since 1970 with fractions on a real clock. */
  atMs(): number {
    return this.#timeOrigin + this.#clock.monotonicMs();
  }

  linkFault(name: LinkFault): FaultSpec | null {
    return this.#faults.find((fault) => fault.name === name) ?? null;
  }

  setFaults(faults: readonly FaultSpec[]): void {
    this.#faults = faults;
  }

  get faults(): readonly FaultSpec[] {
    return this.#faults;
  }

  /** What becomes of a request; null: nobody is there to answer. */
  take(frame: Frame, framing: FramingName, connection: number): Answer | null {
    const exchange = this.transcript.request(connection, frame.unitId, frame.pdu, this.atMs());
    if (frame.unitId === 0 && framing !== 'tcp') {
      for (const unit of this.units.values()) answerPdu(unit, unit.unitId, frame.pdu);
      return null;
    }
    const unit = this.units.get(frame.unitId);
    if (unit === undefined) {
      exchange.fault = 'nobody';
      return null;
    }
    if (this.#isDeaf(unit)) {
      exchange.fault = 'deaf';
      return null;
    }
    const fault = strike([...unit.faults, ...this.#faults], unit.random);
    if (fault !== null) {
      exchange.fault = fault.name;
      this.transcript.counts.faults++;
    }
    const pdu = this.#carryOut(unit, frame, fault);
    if (((pdu[0] ?? 0) & 0x80) !== 0) exchange.exception = pdu[1] ?? 0;
    const answer = { ...frame, pdu };
    const delivery =
      fault === null ? plainDelivery(encode(framing, answer)) : deliver(fault, framing, answer, unit.random);
    return { exchange, turnaroundMs: unit.spec.turnaroundMs ?? this.#turnaroundMs, delivery };
  }

  /** Some units miss what comes too soon after others were spoken to. */
  #isDeaf(unit: Unit): boolean {
    const nowMs = this.#clock.monotonicMs();
    const sinceMs = nowMs - this.#heardAtMs;
    const isSwitch = this.#lastUnitId !== unit.unitId;
    this.#lastUnitId = unit.unitId;
    this.#heardAtMs = nowMs;
    return isSwitch && sinceMs < (unit.spec.deafAfterSwitchMs ?? 0);
  }

  #carryOut(unit: Unit, frame: Frame, fault: FaultSpec | null): Uint8Array {
    const functionCode = frame.pdu[0] ?? 0;
    const name = ANSWER_FAULTS.find((one) => one === fault?.name);
    if (fault !== null && name !== undefined && preventsExecution(name)) {
      return exceptionPdu(functionCode, name === 'exception' ? (fault.code ?? 4) : EXCEPTION_BUSY);
    }
    return answerPdu(unit, frame.unitId, frame.pdu);
  }
}

/** What the machine's monotonic clock showed when performance.now() began to count, in ms. */
function startedMs(): number {
  return Number(process.hrtime.bigint()) / 1e6 - performance.now();
}
