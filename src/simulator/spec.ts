/**
 * What a simulated plant is: plain data that crosses processes as JSON. A bus is one link with its units; a unit has
 * values, limits and faults. Made by hand in tests and by fromplant.ts from a gateway file.
 */
import type { Table } from '../modbus/protocol.js';
import type { ValueType, WordOrder } from '../modbus/values.js';

export interface PlantSpec {
  /** Everything random comes from it. */
  readonly seed?: number;
  /**
   * When the machine's monotonic clock began, in ms since 1970: who gives it counts from there, too, and can compare the
   * transcript's times with its own to the microsecond. Processes that ask the wall clock at their start differ by more.
   */
  readonly epochMs?: number;
  readonly buses: readonly BusSpec[];
}

export interface BusSpec {
  readonly name: string;
  readonly link: SocketSpec | SerialSpec;
  readonly units: readonly UnitSpec[];
  readonly faults?: readonly FaultSpec[];
}

export interface SocketSpec {
  readonly kind: 'tcp' | 'tls' | 'udp' | 'rtu-over-tcp' | 'ascii-over-tcp';
  readonly host?: string;
  /** 0 or absent: a free one. */
  readonly port?: number;
  /** Takes a free port when that one is taken; else starting fails. */
  readonly mayMove?: boolean;
  /** For tls: PEM texts. A client CA makes the client's certificate required. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** Answers leave to the tenth of a millisecond, at the price of a busy core while one is due. */
  readonly isPrecise?: boolean;
  /** The line behind a converter; absent: none, bytes take no time. */
  readonly line?: LineSpec;
}

export interface SerialSpec {
  readonly kind: 'rtu' | 'ascii';
  /** Where a link to the pseudo-terminal is made; absent: in a folder of its own. */
  readonly path?: string;
  readonly line?: LineSpec;
}

export interface LineSpec {
  readonly baud: number;
  readonly dataBits?: 7 | 8;
  readonly parity?: 'none' | 'even' | 'odd';
  readonly stopBits?: 1 | 2;
  /** Units drop frames that come without 3.5 characters of silence before them, as the standard says. Default true. */
  readonly isStrict?: boolean;
  /** The adapter hands back what was sent. */
  readonly hasEcho?: boolean;
  /** Bytes that the adapter collects before it hands them on; the last ones of a frame never wait. Default 16. */
  readonly chunkBytes?: number;
}

export interface RangeSpec {
  readonly table: Table;
  readonly address: number;
  readonly quantity: number;
}

export interface UnitSpec {
  readonly unitId: number;
  readonly name?: string;
  /** How long it thinks before it answers. Default 0 on sockets, 2 ms on lines. */
  readonly turnaroundMs?: number;
  readonly values?: readonly ValueSpec[];
  /** Addresses that it refuses with exception 2. */
  readonly holes?: readonly RangeSpec[];
  /** If given, it refuses every address outside. */
  readonly only?: readonly RangeSpec[];
  /** Read-only although the table is writable. */
  readonly readOnly?: readonly RangeSpec[];
  readonly registersMax?: number;
  readonly registersMin?: number;
  readonly bitsMax?: number;
  /** Which exception answers a request beyond those limits. Default 3. */
  readonly limitException?: number;
  /** Functions that it knows; absent: all. */
  readonly functions?: readonly number[];
  readonly faults?: readonly FaultSpec[];
  /** Bits are answered for only when they are read from address 0 on. */
  readonly bitsFromZero?: boolean;
  /** Holding registers that are written only after a code was, each time. */
  readonly locks?: readonly LockSpec[];
  /** Holding registers that fall back when they are not written again in time. */
  readonly watchdogs?: readonly WatchdogSpec[];
  /** Windows of holding registers that show the page whose number was written. */
  readonly pages?: readonly PageSpec[];
  /** Deaf for so long after another unit of the line was spoken to. */
  readonly deafAfterSwitchMs?: number;
  /** Function 43/14: vendor, product code, revision, and what follows them. */
  readonly identity?: readonly string[];
}

export interface LockSpec {
  readonly register: number;
  readonly code: number;
  readonly guards: Omit<RangeSpec, 'table'>;
}

export interface WatchdogSpec {
  readonly register: number;
  readonly ms: number;
  readonly fallback: number;
}

export interface PageSpec {
  readonly register: number;
  readonly address: number;
  /** By page number. */
  readonly values: Readonly<Record<number, readonly number[]>>;
}

/** Where a value lives and how it moves. */
export type ValueSpec = RangeSpec & Script;

export type Script =
  /** Bytes as a read would return them, as hex. */
  | { readonly script: 'fixed'; readonly hex: string }
  /** Every register says its unit, its address and when it was read (stamp.ts). */
  | { readonly script: 'stamp' }
  /** The same in pairs of registers that change together, so that a value torn between two reads shows. */
  | { readonly script: 'stamp32' }
  /** A typed value between two bounds; for bits: on and off. */
  | {
      readonly script: 'sine' | 'ramp' | 'walk' | 'counter';
      readonly type: ValueType;
      readonly order: WordOrder;
      /** In raw terms, before scale and offset. */
      readonly min: number;
      readonly max: number;
      readonly periodMs: number;
      readonly phase?: number;
    };

export interface FaultSpec {
  readonly name: FaultName;
  /** 0 to 1; default 1. */
  readonly probability?: number;
  /** For slow, late, split, duplicate (before the second copy), idle-close: how long. */
  readonly ms?: number;
  /** For exception: which. */
  readonly code?: number;
}

/** Faults of one answer, whatever carries it. */
export const ANSWER_FAULTS = [
  'slow',
  'late',
  'silent',
  'dead',
  'busy',
  'exception',
  'bad-crc',
  'truncated',
  'over-long',
  'split',
  'garbage-prefix',
  'duplicate',
  'wrong-unit',
  'wrong-function',
  'wrong-tid',
  'wrong-protocol-id',
  'wrong-count',
  'cut',
  'rst',
  'close',
] as const;

/** Faults of a link as a whole; they have no probability. */
export const LINK_FAULTS = ['refuse', 'black-hole', 'idle-close', 'one-client', 'reset-second'] as const;

export type AnswerFault = (typeof ANSWER_FAULTS)[number];
export type LinkFault = (typeof LINK_FAULTS)[number];
export type FaultName = AnswerFault | LinkFault;

/** Reads NAME[:ARGUMENT][=PROBABILITY], such as late:1500ms=50%, exception:2 or bad-crc=0.01. */
export function parseFault(text: string): FaultSpec | string {
  const match = /^([a-z-]+)(?::(\d+)(ms|s)?)?(?:=(\d+(?:\.\d+)?)(%)?)?$/.exec(text);
  if (match === null) return `"${text}" is not NAME[:ARGUMENT][=PROBABILITY]`;
  const [, name, argument, unit, share, percent] = match;
  const known = [...ANSWER_FAULTS, ...LINK_FAULTS].find((fault) => fault === name);
  if (known === undefined) {
    return `"${name ?? ''}" is not a fault; there are ${[...ANSWER_FAULTS, ...LINK_FAULTS].join(', ')}`;
  }
  const probability = share === undefined ? 1 : Number(share) / (percent === undefined ? 1 : 100);
  if (probability > 1) return `"${text}": a probability is at most 1 or 100%`;
  const number = argument === undefined ? undefined : Number(argument) * (unit === 's' ? 1000 : 1);
  return {
    name: known,
    probability,
    ...(number === undefined ? {} : known === 'exception' ? { code: number } : { ms: number }),
  };
}
