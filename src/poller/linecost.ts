/**
 * What a request costs on a link, in milliseconds: the physics of a serial line, or round trip and slope of a
 * network link. Pure figures; what is measured comes from units.
 */
import type { Bus, SerialLink } from '../config/plant.js';
import { isBitTable, type Table } from '../modbus/protocol.js';

/** A read costs fixedMs once and then a little for each register or bit. */
export interface ReadCost {
  readonly fixedMs: number;
  readonly registerMs: number;
  readonly bitMs: number;
}

/** Bytes around the data of a read in RTU: 8 asked, 5 answered. */
const RTU_OVERHEAD_CHARACTERS = 13;
/** In ASCII: 17 characters asked, 11 answered, and two for each byte of data. */
const ASCII_OVERHEAD_CHARACTERS = 28;
/** Native TCP moves a register in a fraction of a microsecond; any positive figure makes shorter requests win ties. */
const NETWORK_REGISTER_MS = 0.0002;

export function isSerial(bus: Bus): boolean {
  return bus.link.kind === 'rtu' || bus.link.kind === 'ascii';
}

/** True where frames carry no transaction identifier, so that a late answer can look like the awaited one. */
export function isLine(bus: Bus): boolean {
  return isSerial(bus) || bus.link.kind === 'rtu-over-tcp' || bus.link.kind === 'ascii-over-tcp';
}

/** Time of one character: start, data, parity and stop bits at the baud. */
export function characterMs(link: SerialLink): number {
  const bits = 1 + link.dataBits + (link.parity === 'none' ? 0 : 1) + link.stopBits;
  return (bits * 1000) / link.baud;
}

/** Silence between frames: 3.5 characters, fixed at 1.75 ms above 19200 baud (Modbus over serial line 2.5.1.1). */
export function silenceMs(bus: Bus): number {
  if (bus.silenceMs !== null) return bus.silenceMs;
  if (bus.link.kind !== 'rtu') return 0;
  return bus.link.baud > 19200 ? 1.75 : 3.5 * characterMs(bus.link);
}

/** Time that a request's own bytes and its answer's spend on the wire. */
export function transferMs(bus: Bus, table: Table, quantity: number): number {
  if (bus.link.kind !== 'rtu' && bus.link.kind !== 'ascii') return 0;
  const dataBytes = isBitTable(table) ? Math.ceil(quantity / 8) : 2 * quantity;
  const characters =
    bus.link.kind === 'rtu' ? RTU_OVERHEAD_CHARACTERS + dataBytes : ASCII_OVERHEAD_CHARACTERS + 2 * dataBytes;
  return characters * characterMs(bus.link);
}

/** The cost of reads on this bus, given how long the device thinks (on a network: the round trip) and the slope. */
export function readCost(bus: Bus, turnaroundMs: number, registerMs = 0): ReadCost {
  const { link } = bus;
  if (link.kind !== 'rtu' && link.kind !== 'ascii') {
    const slope = Math.max(registerMs, NETWORK_REGISTER_MS);
    return { fixedMs: Math.max(turnaroundMs, 0.1) + bus.paceMs, registerMs: slope, bitMs: slope / 16 };
  }
  const perByteMs = characterMs(link) * (link.kind === 'rtu' ? 1 : 2);
  const overhead = link.kind === 'rtu' ? RTU_OVERHEAD_CHARACTERS : ASCII_OVERHEAD_CHARACTERS;
  return {
    fixedMs: overhead * characterMs(link) + 2 * silenceMs(bus) + turnaroundMs + bus.paceMs,
    registerMs: 2 * perByteMs,
    bitMs: perByteMs / 8,
  };
}

export function costOf(cost: ReadCost, table: Table, quantity: number): number {
  return cost.fixedMs + quantity * (isBitTable(table) ? cost.bitMs : cost.registerMs);
}
