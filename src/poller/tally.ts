/** What one device's requests came to, counted. */
import type { ModbusError } from '../modbus/client.js';
import { Histogram } from './latency.js';

export type ErrorKind = ModbusError['kind'];

export class Tally {
  reads = 0;
  readonly errors: Partial<Record<ErrorKind, number>> = {};
  readonly exceptions: Record<number, number> = {};
  readonly response = new Histogram();

  failed(error: ModbusError): void {
    this.errors[error.kind] = (this.errors[error.kind] ?? 0) + 1;
    if (error.kind === 'exception')
      this.exceptions[error.exception] = (this.exceptions[error.exception] ?? 0) + 1;
  }
}
