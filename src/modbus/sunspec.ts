/**
 * The SunSpec information model: a device says "SunS" at one of three addresses, and then one model after the other,
 * each its number and its length, up to the end mark. Walking them says where everything is, wherever the maker put it.
 */
import type { Answer, ModbusError } from './client.js';

export interface SunSpecModel {
  readonly id: number;
  /** Holding register (from 0) of its number; its length follows, then its points. */
  readonly address: number;
  /** Registers of its points. */
  readonly length: number;
}

export type SunSpecWalk =
  | {
      readonly kind: 'found';
      /** Holding register of the mark. */
      readonly base: number;
      readonly models: readonly SunSpecModel[];
      /** Maker and model, as the common model says; empty: it does not. */
      readonly title: string;
      /** Why it ended before the end mark; null: it did not. */
      readonly broken: string | null;
    }
  | { readonly kind: 'nothing'; readonly error: ModbusError | null };

/** Where the mark may be (SunSpec Device Information Model Specification, 6.4), in the order of how usual it is. */
const BASES = [40_000, 50_000, 0];
const MARK = [0x5375, 0x6e53];
const END = 0xffff;
const COMMON = 1;
/** No device has so many; who says so would be read for ever. */
const MODELS_MAX = 200;

/** Of holding registers. */
export type SunSpecRead = (address: number, quantity: number) => Promise<Answer>;

export async function walkSunSpec(read: SunSpecRead): Promise<SunSpecWalk> {
  const { base, error } = await findMark(read);
  if (base === null) return { kind: 'nothing', error };
  const { models, broken } = await walkModels(base, read);
  const common = models.find(({ id }) => id === COMMON);
  return {
    kind: 'found',
    base,
    models,
    broken,
    title: common === undefined ? '' : await titleOf(common, read),
  };
}

/** A device that refuses an address is asked for the next one, one that is silent is not. */
async function findMark(
  read: SunSpecRead,
): Promise<{ readonly base: number | null; readonly error: ModbusError | null }> {
  let error: ModbusError | null = null;
  for (const base of BASES) {
    const answer = await read(base, 2);
    if (answer.ok && wordsOf(answer.data).every((word, index) => word === MARK[index]))
      return { base, error: null };
    // On a line what looks like the answer to another request is not believed: that one was not the mark.
    if (answer.ok || answer.error.kind === 'mismatch') continue;
    ({ error } = answer);
    if (error.kind !== 'exception') break;
  }
  return { base: null, error };
}

/** Its first points, 16 registers each. Empty when they are not answered. */
async function titleOf({ address }: SunSpecModel, read: SunSpecRead): Promise<string> {
  const answer = await read(address + 2, 32);
  if (!answer.ok) return '';
  const text = Buffer.from(answer.data).toString('latin1');
  const part = (from: number): string =>
    text
      .slice(from, from + 32)
      .replace(/[^\x20-\x7e]/g, '')
      .trim();
  return `${part(0)} ${part(32)}`.trim();
}

async function walkModels(
  base: number,
  read: SunSpecRead,
): Promise<{ models: readonly SunSpecModel[]; broken: string | null }> {
  const models: SunSpecModel[] = [];
  const ended = (broken: string | null) => ({ models, broken });
  let address = base + 2;
  while (models.length < MODELS_MAX) {
    if (address + 2 > 65_536) return ended('the models reach beyond the last register');
    const answer = await read(address, 2);
    if (!answer.ok) return ended(`the model at ${address} is not answered: ${answer.error.text}`);
    const [id = END, length = 0] = wordsOf(answer.data);
    if (id === END) return ended(null);
    if (id === 0) return ended(`there is no model at ${address}, and no end mark`);
    models.push({ id, address, length });
    address += 2 + length;
  }
  return ended(`there are more than ${MODELS_MAX} models`);
}

function wordsOf(data: Uint8Array): number[] {
  return Array.from(
    { length: data.length / 2 },
    (_, i) => ((data[2 * i] ?? 0) << 8) | (data[2 * i + 1] ?? 0),
  );
}
