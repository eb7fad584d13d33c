/** `identify:` of a device map -> its signature, checked: it must be readable, and not fit a device that says nothing. */
import { isBitTable } from '../modbus/protocol.js';
import { addressOf, numberingOf } from './address.js';
import type { LoadedMap } from './expand.js';
import type { Layer } from './layers.js';
import type { Device, Tag } from './plant.js';
import { type Path, suggestion } from './problems.js';
import type { IdentifyInput } from './schema/device.js';
import {
  type Expected,
  type RegisterCheck,
  type Signature,
  type ValueCheck,
  isExpected,
} from './signature.js';

const CODE = 'HF1320';

/** null when the map does not say how its devices are recognised, or says it wrongly. */
export function signatureOf(map: LoadedMap, device: Device, tags: readonly Tag[]): Signature | null {
  const { source, value } = map;
  const input = value?.identify;
  if (value === null || input === undefined) return null;
  const before = source.problems.length;
  const registers = (input.registers ?? []).flatMap((one, index) => registerCheck(one, index, map));
  const values = Object.entries(input.values ?? {}).flatMap(([name, expected]) =>
    valueCheck(name, expected, tags, map),
  );
  const texts = [input.text ?? []].flat().map((text) => text.toUpperCase());
  const isTelling =
    texts.length > 0 ||
    registers.some(({ words }) => words.some((word) => word !== 0)) ||
    values.some(({ tag, expected }) => !isExpected(expected, valueOfZero(tag), 0));
  if (!isTelling && source.problems.length === before)
    source.add(
      'error',
      CODE,
      ['identify'],
      'fits a device that answers everything with zeros; add a text, a register that is not 0, or a range without 0',
    );
  if (source.problems.length > before) return null;
  const plausible = tags.filter((tag) => tag.plausible !== null && isReadAlone(tag));
  return { map: map.name, title: value.title, texts, registers, values, plausible, limits: device.limits };
}

type RegisterInput = NonNullable<IdentifyInput['registers']>[number];

function registerCheck(
  { holding, input, equals }: RegisterInput,
  index: number,
  map: LoadedMap,
): RegisterCheck[] {
  const { source, value } = map;
  const path: Path = ['identify', 'registers', index];
  const key = holding === undefined ? 'input' : 'holding';
  const written = holding ?? input;
  if (written === undefined || (holding !== undefined && input !== undefined)) {
    source.add('error', CODE, path, 'names one register: write holding: or input:');
    return [];
  }
  const numbering = numberingOf(value?.numbering, 'pdu');
  const layer: Layer = { name: 'map', source, path, values: {}, numbering, variables: {} };
  const address = addressOf(key, written, layer);
  if (typeof address !== 'string') return [{ ...address, words: [equals].flat() }];
  source.add('error', 'HF1303', [...path, key], address);
  return [];
}

type ExpectedInput = NonNullable<IdentifyInput['values']>[string];

function valueCheck(name: string, input: ExpectedInput, tags: readonly Tag[], { source }: LoadedMap): ValueCheck[] {
  const path: Path = ['identify', 'values', name];
  const tag = tags.find((one) => one.name === name);
  if (tag === undefined) {
    const text = `there is no tag ${name}${suggestion(name, tags.map((one) => one.name))}`;
    source.add('error', 'HF1206', path, text, 'key');
    return [];
  }
  if (!isReadAlone(tag)) {
    const text = 'takes more than one request to know (a formula, a page, a scale in another register); name its registers instead';
    source.add('error', CODE, path, text, 'key');
    return [];
  }
  return [{ tag, expected: expectedOf(input) }];
} // prettier-ignore

function expectedOf(input: ExpectedInput): Expected {
  if (input === 'unit_id') return { kind: 'unit' };
  if (typeof input !== 'object') return { kind: 'among', values: [input] };
  if (Array.isArray(input)) return { kind: 'among', values: input };
  return {
    kind: 'range',
    min: input.min ?? Number.NEGATIVE_INFINITY,
    max: input.max ?? Number.POSITIVE_INFINITY,
  };
}

function isReadAlone({ formula, select, scaleFrom }: Tag): boolean {
  return formula === null && select === null && scaleFrom === null;
}

/** What the tag publishes when its registers are 0. */
function valueOfZero({ table, type, bits, offset, enum: words }: Tag): unknown {
  if (type === 'string') return '';
  if (isBitTable(table) || (type === 'bool' && bits !== null)) return false;
  return words?.find(({ raw }) => raw === 0)?.text ?? offset;
}
