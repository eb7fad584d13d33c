/**
 * What moves in a unit's tables: scripts laid over its memory when it is read. Typed values are encoded here and not
 * by modbus/values.ts, so that a mistake there shows instead of cancelling out.
 */
import { isBitTable, type Table } from '../modbus/protocol.js';
import type { ValueType, WordOrder } from '../modbus/values.js';
import type { Memory } from './memory.js';
import { hashOf } from './random.js';
import type { ValueSpec } from './spec.js';
import { pairStampOf, stampOf } from './stamp.js';

type Wave = Extract<ValueSpec, { readonly type: ValueType }>;

const STEPS = 64;

export class Scripts {
  readonly #unitId: number;
  readonly #memory: Memory;
  #scripts: ValueSpec[] = [];

  constructor(unitId: number, specs: readonly ValueSpec[], memory: Memory) {
    this.#unitId = unitId;
    this.#memory = memory;
    for (const spec of specs) {
      if (spec.script === 'fixed') {
        memory.write(spec.table, spec.address, spec.quantity, Buffer.from(spec.hex, 'hex'));
      } else this.#scripts.push(spec);
    }
    this.#scripts.sort((a, b) => a.address - b.address);
  }

  /** Writes what the scripts show now over bytes read from memory. */
  overlay(bytes: Uint8Array, table: Table, address: number, quantity: number, nowMs: number): void {
    for (const script of this.#scripts) {
      if (script.address >= address + quantity) break;
      if (script.table !== table || script.address + script.quantity <= address) continue;
      const first = Math.max(address, script.address);
      const last = Math.min(address + quantity, script.address + script.quantity);
      if (isBitTable(table)) {
        for (let at = first; at < last; at++)
          setBit(bytes, at - address, bitOf(script, this.#unitId, at, nowMs));
      } else if (script.script === 'stamp') {
        for (let at = first; at < last; at++)
          setRegister(bytes, at - address, stampOf(this.#unitId, at, nowMs));
      } else {
        const value = this.#bytesOf(script, nowMs);
        bytes.set(
          value.subarray((first - script.address) * 2, (last - script.address) * 2),
          (first - address) * 2,
        );
      }
    }
  }

  /** Scripts end where something is written; what they showed elsewhere stays. */
  end(table: Table, address: number, quantity: number, nowMs: number): void {
    const end = address + quantity;
    const meets = (script: ValueSpec): boolean =>
      script.table === table && script.address < end && address < script.address + script.quantity;
    const ended = this.#scripts.filter(meets);
    if (ended.length === 0) return;
    this.#scripts = this.#scripts.filter((script) => !meets(script));
    for (const script of ended) {
      if (script.script === 'stamp' || isBitTable(table)) this.#keepAround(script, address, end);
      else {
        const bytes = this.#bytesOf(script, nowMs);
        this.#memory.write(table, script.address, script.quantity, bytes);
      }
    }
    this.#scripts.sort((a, b) => a.address - b.address);
  }

  #keepAround(script: ValueSpec, address: number, end: number): void {
    if (script.address < address) this.#scripts.push({ ...script, quantity: address - script.address });
    const scriptEnd = script.address + script.quantity;
    if (end < scriptEnd) this.#scripts.push({ ...script, address: end, quantity: scriptEnd - end });
  }

  #bytesOf(script: ValueSpec, nowMs: number): Uint8Array {
    const bytes = new Uint8Array(script.quantity * 2);
    if (script.script === 'stamp32') {
      const view = new DataView(bytes.buffer);
      for (let at = 0; at + 1 < script.quantity; at += 2) {
        view.setUint32(at * 2, pairStampOf(this.#unitId, script.address + at, nowMs));
      }
    } else if (script.script !== 'stamp' && script.script !== 'fixed') {
      bytes.set(encoded(script, waveOf(script, nowMs)).subarray(0, bytes.length));
    }
    return bytes;
  }
}

/** The raw value of a moving script at a time. */
function waveOf(wave: Wave, nowMs: number): number {
  const { script, min, max, periodMs, phase = 0 } = wave;
  const turns = nowMs / periodMs + phase;
  const turn = turns - Math.floor(turns);
  switch (script) {
    case 'sine':
      return min + ((max - min) * (1 + Math.sin(2 * Math.PI * turn))) / 2;
    case 'ramp':
      return min + (max - min) * turn;
    case 'counter':
      // One a second, from where it stood at the beginning of the period.
      return min + (Math.floor((turn * periodMs) / 1000) % Math.max(1, max - min));
    case 'walk': {
      // Between seeded points, so that any time can be asked for without a history.
      const step = Math.floor(turns * STEPS);
      const share = turns * STEPS - step;
      return min + (max - min) * (pointAt(wave, step) * (1 - share) + pointAt(wave, step + 1) * share);
    }
  }
}

function pointAt(wave: Wave, step: number): number {
  return hashOf(`${wave.table}:${wave.address}:${step}`) / 2 ** 32;
}

function bitOf(script: ValueSpec, unitId: number, at: number, nowMs: number): boolean {
  if (script.script === 'stamp' || script.script === 'stamp32') return (stampOf(unitId, at, nowMs) & 1) === 1;
  if (script.script === 'fixed') return false;
  return (Math.floor(nowMs / script.periodMs + (script.phase ?? 0)) + at) % 2 === 0;
}

/** A typed value as registers. Integers are rounded and kept within their type. */
export function encoded(
  spec: { type: ValueType; order: WordOrder; quantity: number },
  value: number,
): Uint8Array {
  const { type, order, quantity } = spec;
  const bytes = new Uint8Array(quantity * 2);
  const view = new DataView(bytes.buffer);
  switch (type) {
    case 'float32':
      view.setFloat32(0, value);
      break;
    case 'float64':
      view.setFloat64(0, value);
      break;
    case 'string':
      bytes.set(Buffer.from(`SIM${Math.round(value)}`, 'latin1').subarray(0, bytes.length));
      return bytes;
    default: {
      let whole = BigInt(Math.round(value));
      for (let at = bytes.length - 1; at >= 0; at--) {
        bytes[at] = Number(whole & 0xffn);
        whole >>= 8n;
      }
    }
  }
  return ordered(bytes, order);
}

/** ABCD as it is; CDAB swaps registers, BADC the bytes of each, DCBA both; the 64-bit forms likewise. */
function ordered(bytes: Uint8Array, order: string): Uint8Array {
  const swapsRegisters = order.startsWith('CD') || order.startsWith('DC') || /^(GH|HG)/.test(order);
  const swapsBytes = order.startsWith('BA') || order.startsWith('DC') || order.startsWith('HG');
  const registers: number[][] = [];
  for (let at = 0; at < bytes.length; at += 2) {
    const pair = [bytes[at] ?? 0, bytes[at + 1] ?? 0];
    registers.push(swapsBytes ? pair.reverse() : pair);
  }
  return Uint8Array.from((swapsRegisters ? registers.reverse() : registers).flat());
}

function setRegister(bytes: Uint8Array, index: number, value: number): void {
  bytes[index * 2] = value >> 8;
  bytes[index * 2 + 1] = value & 0xff;
}

function setBit(bytes: Uint8Array, index: number, value: boolean): void {
  const mask = 1 << (index & 7);
  const byte = bytes[index >> 3] ?? 0;
  bytes[index >> 3] = value ? byte | mask : byte & ~mask;
}
