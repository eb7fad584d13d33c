/**
 * Finds the units of a bus: every unit is asked under every likely setting of the line, the likely ones first. Any
 * valid answer counts, an exception too. Who answered is asked what it is.
 */
import type { Bus, SerialLink } from '../config/plant.js';
import type { Signature } from '../config/signature.js';
import type { Answer, Client } from '../modbus/client.js';
import type { Table } from '../modbus/protocol.js';
import { type SunSpecWalk, walkSunSpec } from '../modbus/sunspec.js';
import { IDENTITY_TIMEOUT_MS, identityOf } from './identity.js';
import { recognise } from './recognise.js';

export interface ScanOptions {
  readonly units: readonly number[];
  /** Settings of a serial line in the order they are tried; empty for a network. */
  readonly settings: readonly LineSetting[];
  readonly timeoutMs: number;
  /** Ends after so many units. */
  readonly stopAfter: number;
  /** Goes on with further settings when one has found units. */
  readonly isThorough: boolean;
  /** What devices of known maps are recognised by. */
  readonly maps: readonly Signature[];
}

export interface LineSetting {
  readonly baud: number;
  /** As in 8N1. */
  readonly format: string;
}

export interface FoundUnit {
  readonly unit: number;
  /** null: on a network. */
  readonly setting: LineSetting | null;
  /** How each table was answered at address 0: ok, or the exception. */
  readonly tables: readonly { readonly table: Table; readonly answer: string }[];
  /** What it says that it is; empty: nothing. */
  readonly identity: string;
  /** Its SunSpec models. */
  readonly sunSpec: SunSpecWalk;
  /** Device maps that fit, the best first. */
  readonly maps: readonly string[];
}

export type ScanNews =
  | { readonly kind: 'found'; readonly found: FoundUnit }
  | {
      readonly kind: 'progress';
      readonly done: number;
      readonly total: number;
      readonly unit: number;
      readonly setting: LineSetting | null;
    }
  /** Said once, for people. */
  | { readonly kind: 'note'; readonly text: string };

export interface ScanContext {
  readonly bus: Bus;
  readonly options: ScanOptions;
  /** A client for the bus as it is then set. */
  connect(bus: Bus): Promise<{ readonly client: Client; close(): Promise<void> }>;
  tell(news: ScanNews): void;
  readonly isAborted: () => boolean;
}

/** Tables that are tried on who answered, in this order; the first is the one that everybody is asked for. */
const TABLES: readonly Table[] = ['holding-register', 'input-register', 'coil', 'discrete-input'];
/** So many units in a row on a network, and whoever answers does so for any unit. */
const ALIKE = 16;
/** Exceptions of a converter that cannot reach the unit: nobody is there. */
const NOBODY = new Set([10, 11]);

export async function scan(context: ScanContext): Promise<void> {
  const { bus, options, tell } = context;
  const settings = 'path' in bus.link ? options.settings : [null];
  const total = settings.length * options.units.length;
  let done = 0;
  let foundCount = 0;
  for (const setting of settings) {
    const { client, close } = await context.connect(setting === null ? bus : withSetting(bus, setting));
    let inARow = 0;
    try {
      for (const unit of options.units) {
        if (context.isAborted() || foundCount >= options.stopAfter) return;
        tell({ kind: 'progress', done, total, unit, setting });
        const answer = await ask(client, unit, 'holding-register', options.timeoutMs);
        done += 1;
        if (!isThere(answer)) {
          inARow = 0;
          continue;
        }
        foundCount += 1;
        inARow += 1;
        tell({ kind: 'found', found: await describe(client, unit, setting, answer, options) });
        if (setting === null && inARow >= ALIKE) {
          tell({ kind: 'note', text: `${ALIKE} units in a row answer: this device answers for any unit` });
          return;
        }
      }
    } finally {
      await close();
    }
    if (foundCount > 0 && !options.isThorough) return;
  }
  tell({ kind: 'progress', done, total, unit: options.units.at(-1) ?? 0, setting: settings.at(-1) ?? null });
}

/** The longest that it can take until all were asked, in ms; who answers is looked at more closely. */
export function worstMs(bus: Bus, { units, settings, timeoutMs }: ScanOptions): number {
  if (!('path' in bus.link)) return units.length * timeoutMs;
  // The request's eight characters, and what is kept silent around them.
  return settings.reduce((sum, { baud }) => sum + units.length * (timeoutMs + (15 * 11_000) / baud), 0);
}

function withSetting(bus: Bus, { baud, format }: LineSetting): Bus {
  const [data = '8', parity = 'N', stop = '1'] = format;
  return {
    ...bus,
    link: {
      ...(bus.link as SerialLink), // only lines have settings
      baud,
      dataBits: data === '7' ? 7 : 8,
      parity: parity === 'E' ? 'even' : parity === 'O' ? 'odd' : 'none',
      stopBits: stop === '2' ? 2 : 1,
    },
  };
}

function ask(client: Client, unitId: number, table: Table, timeoutMs: number): Promise<Answer> {
  return client.request({ kind: 'read', unitId, table, address: 0, quantity: 1 }, timeoutMs);
}

function isThere(answer: Answer): boolean {
  return answer.ok || (answer.error.kind === 'exception' && !NOBODY.has(answer.error.exception));
}

async function describe(
  client: Client,
  unit: number,
  setting: LineSetting | null,
  first: Answer,
  { timeoutMs, maps }: ScanOptions,
): Promise<FoundUnit> {
  const tables: { table: Table; answer: string }[] = [];
  for (const table of TABLES) {
    const answer = table === 'holding-register' ? first : await ask(client, unit, table, timeoutMs);
    tables.push({ table, answer: answer.ok ? 'ok' : textOf(answer) });
  }
  const sunSpec = await walkSunSpec((address, quantity) =>
    client.request(
      { kind: 'read', unitId: unit, table: 'holding-register', address, quantity },
      Math.max(timeoutMs, IDENTITY_TIMEOUT_MS),
    ),
  );
  const identity = await identityOf(client, unit, sunSpec);
  return { unit, setting, tables, identity, sunSpec, maps: await recognise(client, unit, identity, maps) };
}

function textOf(answer: Answer & { ok: false }): string {
  const { kind, exception } = answer.error;
  return kind === 'exception' ? `exception ${exception}` : kind === 'timeout' ? 'no answer' : kind;
}
