/**
 * One link's Modbus client: requests out, answers in. Every request settles within its deadline, whatever happens to
 * the link; what can be expected to happen is a value, not an exception. modbus-serial encodes and decodes PDUs here and nothing else.
 */
import type { Table } from './protocol.js';

export type Request =
  | {
      readonly kind: 'read';
      readonly unitId: number;
      readonly table: Table;
      readonly address: number;
      readonly quantity: number;
    }
  /** Function 5 or 15; function 0: 5 for one bit, 15 for more. */
  | {
      readonly kind: 'write-bits';
      readonly unitId: number;
      readonly address: number;
      readonly bits: readonly boolean[];
      readonly functionCode: 0 | 5 | 15;
    }
  /** Function 6 or 16; function 0: 6 for one register, 16 for more. Two bytes a register, most significant first. */
  | {
      readonly kind: 'write-registers';
      readonly unitId: number;
      readonly address: number;
      readonly registers: Uint8Array;
      readonly functionCode: 0 | 6 | 16;
    }
  /** Function 22: register = (register AND andMask) OR (orMask AND NOT andMask). */
  | {
      readonly kind: 'mask-write';
      readonly unitId: number;
      readonly address: number;
      readonly andMask: number;
      readonly orMask: number;
    }
  /** Function 23. */
  | {
      readonly kind: 'read-write';
      readonly unitId: number;
      readonly address: number;
      readonly quantity: number;
      readonly writeAddress: number;
      readonly registers: Uint8Array;
    }
  /** Any other function (8, 17, 43/14 ...): the PDU's data after the function code, and back. */
  | {
      readonly kind: 'raw';
      readonly unitId: number;
      readonly functionCode: number;
      readonly data: Uint8Array;
    };

/** What went wrong with one request; see architecture: transient, refused, silent and lost are decided by the poller. */
export interface ModbusError {
  readonly kind:
    'timeout' | 'exception' | 'crc' | 'framing' | 'mismatch' | 'closed' | 'refused' | 'invalid-request';
  /** Exception code when kind is exception, else 0. */
  readonly exception: number;
  readonly text: string;
}

export type Answer =
  /** data: registers as bytes, two each, most significant first; bits packed, lowest first; empty for writes. Times are monotonic ms. */
  | { readonly ok: true; readonly data: Uint8Array; readonly sentAtMs: number; readonly receivedAtMs: number }
  | {
      readonly ok: false;
      readonly error: ModbusError;
      readonly sentAtMs: number;
      readonly receivedAtMs: number;
    };

/** What a transport tells of itself. */
export interface LinkListener {
  /** The link is up; requests may go. */
  up(): void;
  /** The link is gone; every request under way has been answered with `closed` before this is called. */
  down(error: ModbusError): void;
  /** Every frame that passed, for trace and statistics; optional because it costs. Times are monotonic ms. */
  frame?(direction: 'sent' | 'received', bytes: Uint8Array, atMs: number): void;
  /** Bytes that were no answer to anything: late, foreign, broken. */
  discarded?(reason: 'late' | 'foreign' | 'crc' | 'noise' | 'transaction' | 'protocol', bytes: number): void;
}

export interface Client {
  /** Starts connecting, and goes on with growing, jittered delay until close(). */
  open(): void;
  readonly isUp: boolean;
  /** Never rejects. timeoutMs counts from the moment the request is on the wire. Unit 0 is a broadcast: ok without an answer. */
  request(request: Request, timeoutMs: number): Promise<Answer>;
  /** Drops the connection and makes a new one: for a link that is up and yet dead. */
  reset(reason: string): void;
  /** Settles everything under way with `closed`; resolves when the socket or port is released. */
  close(): Promise<void>;
}
