/**
 * What other masters ask of a bus's units through its shared port. Visits wait in the order they came, behind commands
 * and probes; while polls are due they get a small part of the line. A silent unit is answered for at once, and what
 * nobody waits for any more is not asked.
 */
import type { Bus } from '../config/plant.js';
import type { Answer, Request } from '../modbus/client.js';
import { EXCEPTION, type ExceptionCode } from '../modbus/server.js';
import { TimeBudget } from './breaker.js';
import { tookMs } from './health.js';
import { Image } from './image.js';
import type { Unit } from './unit.js';

/** What visits may take of the line while polls are due, and how much of it they may have saved up. */
const SHARE = 0.15;
const STORE_MS = 100;
/** Answered as busy when its turn has not come by then. */
const WAIT_MAX_MS = 3000;

export type VisitAnswer = Uint8Array | ExceptionCode;

export interface Visit {
  readonly unit: Unit;
  readonly request: Request;
  /** Whether somebody still waits for the answer. */
  readonly isWanted: () => boolean;
  readonly deadlineMs: number;
  readonly settle: (answer: VisitAnswer) => void;
}

export class Visitors {
  readonly #bus: Bus;
  readonly #byUnitId: ReadonlyMap<number, Unit>;
  readonly #budget: TimeBudget;
  readonly #image: Image | null;
  #waiting: Visit[] = [];

  constructor(bus: Bus, units: readonly Unit[], nowMs: number) {
    this.#bus = bus;
    this.#byUnitId = new Map(units.map((unit) => [unit.device.unitId, unit]));
    this.#budget = new TimeBudget(SHARE, STORE_MS, nowMs);
    this.#image = bus.share !== null && bus.share.freshMs > 0 ? new Image() : null;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Answers from what is known, or queues it. */
  receive(request: Request, isWanted: () => boolean, nowMs: number): Promise<VisitAnswer> {
    const unit = this.#byUnitId.get(request.unitId);
    if (unit === undefined) return Promise.resolve(EXCEPTION.pathUnavailable);
    if (unit.breaker.isOpen) return Promise.resolve(EXCEPTION.targetFailedToRespond);
    const known = this.#known(request, nowMs);
    if (known !== null) return Promise.resolve(known);
    const deadlineMs = nowMs + Math.max(WAIT_MAX_MS, this.#bus.timeoutMs);
    return new Promise((settle) => this.#waiting.push({ unit, request, isWanted, deadlineMs, settle }));
  }

  /** The next visit that may go now; polls that are due leave it a part of the line only. */
  take(nowMs: number, isPollDue: boolean, heldUntilMs: (request: Request) => number): Visit | null {
    this.review(nowMs);
    if (isPollDue && !this.#budget.canSpend(nowMs)) return null;
    const index = this.#waiting.findIndex((visit) => readyAtMs(visit, heldUntilMs) <= nowMs);
    return index < 0 ? null : (this.#waiting.splice(index, 1)[0] ?? null);
  }

  /** When the first of them may go, the line's other business apart. */
  nextMs(heldUntilMs: (request: Request) => number): number {
    return this.#waiting.reduce((least, visit) => Math.min(least, readyAtMs(visit, heldUntilMs)), Infinity);
  }

  /** Answers those whose unit went silent or whose time is over, and drops those that nobody waits for. */
  review(nowMs: number): void {
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter(({ unit, isWanted, deadlineMs, settle }) => {
      if (isWanted() && !unit.breaker.isOpen && nowMs <= deadlineMs) return true;
      settle(unit.breaker.isOpen ? EXCEPTION.targetFailedToRespond : EXCEPTION.busy);
      return false;
    });
  }

  /** Nobody can be reached. */
  rejectAll(): void {
    for (const { settle } of this.#waiting.splice(0)) settle(EXCEPTION.targetFailedToRespond);
  }

  /** A visit has had its answer from the line, or none. */
  finish({ request, settle }: Visit, answer: Answer, nowMs: number): void {
    this.#budget.spend(nowMs, tookMs(answer));
    if (answer.ok && request.kind === 'read') {
      const { unitId, table, address, quantity } = request;
      this.#image?.keep(unitId, table, address, quantity, answer.data, answer.sentAtMs);
    }
    settle(answer.ok ? answer.data : exceptionOf(answer.error));
  }

  /** A poll was answered: other masters may have it too. */
  polled(request: Request, answer: Answer): void {
    if (this.#image === null || !answer.ok || request.kind !== 'read') return;
    const { unitId, table, address, quantity } = request;
    this.#image.keep(unitId, table, address, quantity, answer.data, answer.sentAtMs);
  }

  /** A write begins or ends. */
  written(unitId: number, nowMs: number): void {
    this.#image?.forget(unitId, nowMs);
  }

  #known(request: Request, nowMs: number): Uint8Array | null {
    if (request.kind !== 'read' || this.#image === null) return null;
    const { unitId, table, address, quantity } = request;
    return this.#image.read(unitId, table, address, quantity, nowMs - (this.#bus.share?.freshMs ?? 0));
  }
}

function readyAtMs({ unit, request }: Visit, heldUntilMs: (request: Request) => number): number {
  // The end of the write under way is the next occasion.
  if (unit.isWriting) return Infinity;
  return Math.max(unit.holdUntilMs, heldUntilMs(request));
}

/** The unit's own exception is passed on; whatever else went wrong, there was no answer that could be. */
function exceptionOf({ exception }: { readonly exception: number }): ExceptionCode {
  return exception > 0 ? exception : EXCEPTION.targetFailedToRespond;
}
