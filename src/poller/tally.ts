/** What the requests of one device came to, or those of one read of it, counted. */
import type { ModbusError } from '../modbus/client.js';
import { Histogram } from './latency.js';

export type ErrorKind = ModbusError['kind'];

export class Tally {
  reads = 0;
  readonly errors: Partial<Record<ErrorKind, number>> = {};
  readonly exceptions: Record<number, number> = {};
  readonly response = new Histogram();
  /** How long after it fell due each read went on the line. */
  readonly lateness = new Histogram();
  /** How long the line was taken, since it was last looked at. */
  busyMs = 0;

  failed(error: ModbusError): void {
    this.errors[error.kind] = (this.errors[error.kind] ?? 0) + 1;
    if (error.kind === 'exception')
      this.exceptions[error.exception] = (this.exceptions[error.exception] ?? 0) + 1;
  }

  /** The times of the period start anew. */
  clear(): void {
    this.response.clear();
    this.lateness.clear();
    this.busyMs = 0;
  }
}
