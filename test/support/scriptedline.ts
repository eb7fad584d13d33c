/**
 * A bus with its devices in virtual time, in place of a Modbus client: takes as long as a line takes, and misbehaves
 * as the test says. A register holds its own address and the second at which it was read, so that a value that
 * belongs to another address or another time shows.
 */
import type { Clock } from '../../src/clock.js';
import type { Bus } from '../../src/config/plant.js';
import type { Answer, Client, LinkListener, ModbusError, Request } from '../../src/modbus/client.js';
import { isBitTable } from '../../src/modbus/protocol.js';
import { characterMs, isLine, silenceMs, transferMs } from '../../src/poller/linecost.js';

/** What becomes of one request: an exception code, silence, an answer that is broken or to something else, or (0) a good one. */
export type Verdict = number | 'silent' | 'crc' | 'mismatch';

export interface ScriptedUnit {
  turnaroundMs: number;
  isAlive: boolean;
  /** Asked before every good answer. */
  judge: (request: Request) => Verdict;
  /** Values written, by address: they win over the usual content. */
  readonly written: Map<number, number>;
}

export interface Asked {
  readonly unitId: number;
  readonly request: Request;
  readonly atMs: number;
  readonly tookMs: number;
  readonly outcome: string;
}

/** What a register holds: the low 8 bits of its address and of the second in which it is read. */
export function contentOf(address: number, nowMs: number): number {
  return ((address & 0xff) << 8) | (Math.floor(nowMs / 1000) & 0xff);
}

export class ScriptedLine implements Client {
  readonly asked: Asked[] = [];
  readonly units = new Map<number, ScriptedUnit>();
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #listener: LinkListener;
  isUp = false;
  /** Whether a connection can be made. */
  isReachable = true;
  inFlightMost = 0;
  resets = 0;
  isOneAtATime = false;
  #inFlight = 0;
  #quietAtMs = 0;
  #suspects: { key: string; untilMs: number }[] = [];
  #pending = new Set<(error: ModbusError) => void>();

  constructor(bus: Bus, clock: Clock, listener: LinkListener) {
    this.#bus = bus;
    this.#clock = clock;
    this.#listener = listener;
  }

  unit(unitId: number): ScriptedUnit {
    let unit = this.units.get(unitId);
    if (unit === undefined) {
      unit = { turnaroundMs: 3, isAlive: true, judge: () => 0, written: new Map() };
      this.units.set(unitId, unit);
    }
    return unit;
  }

  watch(): void {}

  hurry(): void {}

  oneAtATime(): void {
    this.isOneAtATime = true;
  }

  open(): void {
    this.#clock.after(5, () => {
      if (this.isUp) return;
      if (!this.isReachable) {
        this.#listener.down({ kind: 'refused', exception: 0, text: 'connection refused' });
        this.#clock.after(500, () => this.open());
        return;
      }
      this.isUp = true;
      this.#listener.up();
    });
  }

  /** The far side was found to stand one request at a time. */
  showOneAtATime(): void {
    this.#listener.oneAtATime?.();
  }

  /** The connection breaks; it is made again as soon as it can be. */
  cut(): void {
    if (!this.isUp) return;
    this.isUp = false;
    const error: ModbusError = { kind: 'closed', exception: 0, text: 'the peer closed the connection' };
    for (const settle of [...this.#pending]) settle(error);
    this.#listener.down(error);
    this.open();
  }

  request(request: Request, timeoutMs: number): Promise<Answer> {
    this.#inFlight += 1;
    this.inFlightMost = Math.max(this.inFlightMost, this.#inFlight);
    const nowMs = this.#clock.monotonicMs();
    const sentAtMs = Math.max(nowMs, this.#quietAtMs + silenceMs(this.#bus));
    const { unitId } = request;
    const unit = this.unit(unitId);
    const verdict = unit.isAlive ? unit.judge(request) : 'silent';
    const requestMs = this.#requestMs(request);
    const answerMs = requestMs + silenceMs(this.#bus) + unit.turnaroundMs + this.#answerMs(request);
    const isLate = verdict !== 'silent' && unit.turnaroundMs > timeoutMs;
    const isSilent = verdict === 'silent' || isLate;
    const endAtMs = sentAtMs + (isSilent ? requestMs + timeoutMs : answerMs);
    return new Promise((resolve) => {
      const settle = (error: ModbusError | null): void => {
        if (!this.#pending.delete(settle)) return;
        this.#inFlight -= 1;
        const receivedAtMs = this.#clock.monotonicMs();
        this.#quietAtMs = receivedAtMs;
        const outcome = error?.kind ?? (verdict === 0 ? 'ok' : String(verdict));
        this.asked.push({ unitId, request, atMs: sentAtMs, tookMs: receivedAtMs - sentAtMs, outcome });
        if (error !== null) return resolve({ ok: false, error, sentAtMs, receivedAtMs });
        resolve(this.#answer(request, unit, verdict, isSilent, sentAtMs, receivedAtMs));
      };
      this.#pending.add(settle);
      this.#clock.after(endAtMs - nowMs, () => settle(null));
    });
  }

  heldUntilMs(request: Request): number {
    const nowMs = this.#clock.monotonicMs();
    this.#suspects = this.#suspects.filter(({ untilMs }) => untilMs > nowMs);
    return this.#suspects.find(({ key }) => key === shapeOf(request))?.untilMs ?? 0;
  }

  reset(): void {
    this.resets += 1;
    this.cut();
  }

  close(): Promise<void> {
    this.isUp = false;
    const error: ModbusError = { kind: 'closed', exception: 0, text: 'the client was closed' };
    for (const settle of [...this.#pending]) settle(error);
    return Promise.resolve();
  }

  #answer(
    request: Request,
    unit: ScriptedUnit,
    verdict: Verdict,
    isSilent: boolean,
    sentAtMs: number,
    receivedAtMs: number,
  ): Answer {
    const failed = (kind: ModbusError['kind'], exception = 0): Answer => {
      const text = kind === 'exception' ? `exception ${exception}` : kind;
      return { ok: false, error: { kind, exception, text }, sentAtMs, receivedAtMs };
    };
    if (isSilent) {
      if (isLine(this.#bus))
        this.#suspects.push({ key: shapeOf(request), untilMs: receivedAtMs + this.#bus.timeoutMs });
      return failed('timeout');
    }
    if (verdict === 'crc' || verdict === 'mismatch') return failed(verdict);
    if (typeof verdict === 'number' && verdict > 0) return failed('exception', verdict);
    return { ok: true, data: this.#carryOut(request, unit), sentAtMs, receivedAtMs };
  }

  #carryOut(request: Request, unit: ScriptedUnit): Uint8Array {
    const nowMs = this.#clock.monotonicMs();
    switch (request.kind) {
      case 'read': {
        const { address, quantity, table } = request;
        if (isBitTable(table)) {
          const bits = new Uint8Array(Math.ceil(quantity / 8));
          for (let i = 0; i < quantity; i += 1)
            if (((address + i) & 1) === 1) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
          return bits;
        }
        const data = Buffer.alloc(2 * quantity);
        for (let i = 0; i < quantity; i += 1) {
          data.writeUInt16BE(unit.written.get(address + i) ?? contentOf(address + i, nowMs), 2 * i);
        }
        return data;
      }
      case 'write-registers':
        for (let i = 0; i < request.registers.length / 2; i += 1) {
          const word = ((request.registers[2 * i] ?? 0) << 8) | (request.registers[2 * i + 1] ?? 0);
          unit.written.set(request.address + i, word);
        }
        return new Uint8Array(0);
      default:
        return new Uint8Array(0);
    }
  }

  #requestMs(request: Request): number {
    const { link } = this.#bus;
    if (link.kind !== 'rtu') return 0;
    return (request.kind === 'write-registers' && request.registers.length > 2 ? 13 : 8) * characterMs(link);
  }

  #answerMs(request: Request): number {
    if (this.#bus.link.kind !== 'rtu') return 0;
    if (request.kind !== 'read') return this.#requestMs(request);
    return transferMs(this.#bus, request.table, request.quantity) - this.#requestMs(request);
  }
}

function shapeOf(request: Request): string {
  return request.kind === 'read'
    ? `${request.unitId} ${request.table} ${request.quantity}`
    : `${request.unitId} ${JSON.stringify(request)}`;
}
