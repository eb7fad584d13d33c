/**
 * How the units of one bus are: what every exchange says of its unit, when a unit counts as silent and when it is back,
 * and what is told of it. What is read from it is reading.ts's business.
 */
import type { Clock } from '../clock.js';
import type { Bus } from '../config/plant.js';
import type { Answer, Client, ModbusError } from '../modbus/client.js';
import { isGatewayException } from '../modbus/protocol.js';
import type { Agenda } from './agenda.js';
import type { Desk } from './desk.js';
import type { LinkState } from './linkstate.js';
import type { Patience } from './patience.js';
import type { Publisher } from './publisher.js';
import type { DeviceState } from './sample.js';
import type { Statistics } from './statistics.js';
import type { Unit } from './unit.js';

/** Commands to a silent unit are tried on it this often; others meanwhile are answered at once. */
const SILENT_TRY_MS = 1000;
/** So many probes without an answer show that a unit on trial is silent. */
const TRIAL_PROBES = 2;
/** The parts of a poller that what comes from the line has to do with. */
export interface HealthParts {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly client: Pick<Client, 'isUp'>;
  readonly statistics: Statistics;
  readonly agenda: Agenda;
  readonly desk: Desk;
  readonly publisher: Publisher;
  readonly patience: Patience;
  readonly link: LinkState;
  readonly events: {
    deviceChanged(deviceIndex: number, state: DeviceState, sinceMs: number, error: string): void;
    event(kind: string, fields: Record<string, unknown>): void;
  };
  /** Told when a unit that had been silent is back: it may be another one now. */
  readonly revived: (unit: Unit, nowMs: number) => void;
}

export class Health {
  readonly #parts: HealthParts;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** Counts an exchange; true when the unit itself answered. */
  settle(unit: Unit, answer: Answer, transferredMs: number): boolean {
    const ms = tookMs(answer);
    this.#parts.statistics.took(ms);
    unit.statistics.busyMs += ms;
    if (!answer.ok) {
      this.#parts.statistics.failed(answer.error);
      unit.statistics.failed(answer.error);
      unit.lastError = answer.error.text;
      if (answer.error.kind !== 'exception') return false;
      if (isFromGateway(answer.error)) {
        this.#parts.link.heard(this.#parts.clock.monotonicMs());
        this.#parts.patience.heard(this.#parts.clock.monotonicMs());
        return false;
      }
    }
    unit.latency.add(Math.max(0, ms - transferredMs));
    unit.statistics.response.add(ms);
    this.#parts.statistics.response.add(ms);
    this.answered(unit, this.#parts.clock.monotonicMs());
    return true;
  }

  answered(unit: Unit, nowMs: number): void {
    this.#parts.link.heard(nowMs);
    this.#parts.patience.heard(nowMs);
    unit.answered();
    unit.isOnTrial = false;
    const wasOffline = unit.state === 'offline';
    const wasOpen = unit.breaker.succeeded();
    if (wasOpen || wasOffline) this.#revived(unit, nowMs);
    if (wasOpen) this.#parts.patience.back(unit, nowMs);
    if (wasOpen && wasOffline) this.#parts.revived(unit, nowMs);
  }

  /** It answers again: everything of it is due now. */
  #revived(unit: Unit, nowMs: number): void {
    unit.revivedAtMs = this.#parts.clock.nowMs();
    unit.holdUntilMs = Math.min(unit.holdUntilMs, nowMs);
    this.#parts.agenda.allDue(unit, nowMs);
    this.review(unit);
  }

  /** What a probe of a silent unit came to. */
  probed(unit: Unit, answer: Answer, transferredMs: number): void {
    const nowMs = this.#parts.clock.monotonicMs();
    unit.holdUntilMs = nowMs;
    if (this.settle(unit, answer, transferredMs) || answer.ok) return;
    if (answer.error.kind === 'timeout') {
      this.#parts.link.missed();
      this.#parts.patience.missed(unit, answer.sentAtMs);
    } else if (answer.error.kind === 'closed') this.hungUp(unit, nowMs);
    unit.breaker.failed(nowMs);
    unit.vainProbes += 1;
    if (!unit.isOnTrial) return this.#parts.desk.rejectOwn(unit, answer.error.text);
    if (unit.breaker.probes >= TRIAL_PROBES) this.#fell(unit, answer.error, nowMs);
  }

  /** What the last exchange of a write says of its unit. */
  wrote(unit: Unit, answer: Answer, nowMs: number): void {
    if (answer.ok) return this.answered(unit, nowMs);
    const { error } = answer;
    this.#parts.statistics.failed(error);
    unit.statistics.failed(error);
    if (isRefusal(error)) return this.answered(unit, nowMs);
    if (error.kind !== 'timeout' && !isFromGateway(error)) return;
    this.#parts.link.missed();
    const wasOpen = unit.breaker.isOpen;
    this.failed(unit, error, tookMs(answer), nowMs);
    if (!wasOpen) return;
    this.silent(unit, error, nowMs);
  }

  /** The connection ended while this unit was asked. */
  hungUp(unit: Unit, nowMs: number): void {
    this.#parts.patience.broke(unit, nowMs);
    if (!this.#parts.client.isUp) this.#parts.link.broke();
  }

  /** A read of it was not answered: commands are not tried on it again and again. */
  silent(unit: Unit, error: ModbusError, nowMs: number): void {
    unit.triedUntilMs = nowMs + SILENT_TRY_MS;
    this.#parts.desk.rejectOwn(unit, error.text);
  }

  /** One more failure of a unit; perhaps it counts as silent from now on, or is put on trial when the request is suspected. */
  failed(unit: Unit, error: ModbusError, costMs: number, nowMs: number, isSuspect = false): void {
    const { breaker } = unit;
    if (breaker.failures === 0) unit.firstFailureMs = nowMs - costMs;
    // Learned timeouts are short: a unit is silent only after the time that the settings give it.
    const isEarly = error.kind !== 'exception' && nowMs - unit.firstFailureMs < this.#parts.bus.timeoutMs;
    if (!breaker.isOpen && isEarly && breaker.failures + 1 >= unit.device.offline.afterFailures) return;
    if (!breaker.failed(nowMs)) return;
    this.#parts.agenda.noneDue(unit);
    if (!isSuspect) return this.#fell(unit, error, nowMs);
    unit.isOnTrial = true;
    breaker.probeNow(nowMs);
  }

  #fell(unit: Unit, error: ModbusError, nowMs: number): void {
    unit.isOnTrial = false;
    this.setState(unit, 'offline', error.text);
    this.#parts.publisher.fail(unit, unit.states, error.kind === 'exception' ? 'offline' : 'timeout', nowMs);
    this.#parts.desk.rejectOwn(unit, error.text);
  }

  review(unit: Unit): void {
    if (unit.breaker.isOpen || this.#parts.link.isDown || unit.goodCount === 0) return;
    const badCount = unit.countBad();
    if (badCount === 0) return this.setState(unit, 'online', '');
    if (unit.state === 'degraded' && badCount === unit.toldBadCount) return;
    unit.toldBadCount = badCount;
    this.setState(unit, 'degraded', unit.badText());
  }

  setState(unit: Unit, state: DeviceState, error: string): void {
    if (unit.state === state && unit.error === error) return;
    const isNew = unit.state !== state;
    if (isNew) unit.sinceMs = this.#parts.clock.nowMs();
    unit.state = state;
    unit.error = error;
    const { index, name } = unit.device;
    this.#parts.events.deviceChanged(index, state, unit.sinceMs, error);
    // That all of them are gone with their line is told once, of the line.
    if (state === unit.toldState || (state === 'offline' && this.#parts.link.isDown)) return;
    unit.toldState = state;
    this.#parts.events.event(`device-${state}`, { device: name, bus: this.#parts.bus.name, error });
  }
}

/** It went on the line; else its connection ended before its turn came. */
export function wasSent(answer: Answer): boolean {
  return answer.sentAtMs > 0;
}

export function tookMs(answer: Answer): number {
  return wasSent(answer) ? Math.max(0, answer.receivedAtMs - answer.sentAtMs) : 0;
}

function isFromGateway({ kind, exception }: ModbusError): boolean {
  return kind === 'exception' && isGatewayException(exception);
}

/** The unit itself said no. */
export function isRefusal(error: ModbusError): boolean {
  return error.kind === 'exception' && !isFromGateway(error);
}

/** The unit itself answered, if only with an exception. */
export function isOfUnit(answer: Answer): boolean {
  return answer.ok || isRefusal(answer.error);
}
