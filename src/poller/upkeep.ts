/**
 * Values that a device forgets unless they are written again and again: which, how often, for how long after the last
 * command, and what is written in the end. Orders only; they are carried out like commands.
 */
import type { RefreshSettings } from '../config/plant.js';
import type { Command } from './commands.js';
import { ingredientsOf } from './recipe.js';
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

  /** From now on the values of this command are kept up. */
  carriedOut({ state, recipe, payload }: Command, nowMs: number): void {
    if (recipe === null) return this.#ordered(state, payload, nowMs);
    const ingredients = ingredientsOf(recipe, payload);
    if ('kind' in ingredients) return;
    for (const { state: part, value } of ingredients)
      this.#ordered(part, Buffer.from(JSON.stringify(value)), nowMs);
  }

  #entryOf(state: TagState): Entry | undefined {
    return this.#entries.find((entry) => entry.state === state);
  }

  #ordered(state: TagState, payload: Uint8Array, nowMs: number): void {
    const entry = this.#entryOf(state);
    if (entry === undefined) return;
    entry.payload = Uint8Array.from(payload);
    entry.dueMs = nowMs + entry.settings.everyMs;
    entry.endMs = nowMs + entry.settings.holdMs;
  }

  /** What an order of before would be now. */
  newest({ state, payload }: Pick<Order, 'state' | 'payload'>): Uint8Array {
    return this.#entryOf(state)?.payload ?? payload;
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
