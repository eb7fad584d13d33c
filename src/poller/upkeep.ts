/**
 * Values that a device forgets unless they are written again and again: which, how often, for how long after the last
 * command, and what is written in the end. Orders only; they are carried out like commands.
 */
import type { RefreshSettings } from '../config/plant.js';
import type { TagState } from './report.js';
import type { Unit } from './unit.js';

export interface Order {
  readonly unit: Unit;
  readonly state: TagState;
  readonly payload: Uint8Array;
}

interface Entry {
  readonly unit: Unit;
  readonly state: TagState;
  readonly settings: RefreshSettings;
  /** null: nothing is kept up. */
  payload: Uint8Array | null;
  dueMs: number;
  endMs: number;
}

export class Upkeep {
  readonly #entries: readonly Entry[];

  constructor(units: readonly Unit[]) {
    this.#entries = units.flatMap((unit) =>
      unit.states.flatMap((state) => {
        const settings = state.tag.write?.refresh ?? null;
        if (settings === null) return [];
        const { initial } = settings;
        const payload = initial === null ? null : Buffer.from(initial);
        return [{ unit, state, settings, payload, dueMs: 0, endMs: Infinity }];
      }),
    );
  }

  /** A command was carried out: from now on its value is kept up. */
  commanded(state: TagState, payload: Uint8Array, nowMs: number): void {
    const entry = this.#entries.find((one) => one.state === state);
    if (entry === undefined) return;
    entry.payload = Uint8Array.from(payload);
    entry.dueMs = nowMs + entry.settings.everyMs;
    entry.endMs = nowMs + entry.settings.holdMs;
  }

  /** What is to be written now. Silent units are not disturbed: they get it as soon as they are back. */
  due(nowMs: number): Order[] {
    return this.#entries.flatMap((entry) => {
      const { unit, state, settings, payload } = entry;
      if (payload === null || nowMs < Math.min(entry.dueMs, entry.endMs)) return [];
      if (unit.breaker.isOpen || unit.goodCount === 0) return [];
      if (nowMs >= entry.endMs) {
        entry.payload = null;
        return settings.fallback === null ? [] : [{ unit, state, payload: Buffer.from(settings.fallback) }];
      }
      entry.dueMs = nowMs + settings.everyMs;
      return [{ unit, state, payload }];
    });
  }

  /** What is to be written before nobody keeps anything up any more. */
  last(): Order[] {
    return this.#entries.flatMap((entry) => {
      const { unit, state, settings, payload } = entry;
      entry.payload = null;
      if (payload === null || settings.fallback === null || unit.breaker.isOpen) return [];
      return [{ unit, state, payload: Buffer.from(settings.fallback) }];
    });
  }
}
