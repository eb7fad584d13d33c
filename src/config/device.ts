/** A device itself: its unit, its limits, and the ranges that are never read. */
import { QUANTITY_MAX } from '../modbus/protocol.js';
import { type AddressKey, addressOf, numberingOf } from './address.js';
import type { RawDevice } from './expand.js';
import type { Numbering } from './layers.js';
import type { Source } from './load.js';
import type { Bus, Device, DeviceLimits, Range } from './plant.js';
import type { Path } from './problems.js';
import type { DeviceInput } from './schema/device.js';

/** What is said of a device itself, checked; `bus` is null when there is none of the name it gives. */
export function deviceSettings(raw: RawDevice, bus: Bus | null, index: number, topic: string): Device {
  const { input, map, maps, path, source } = raw;
  const isNetwork = bus !== null && ['tcp', 'tls', 'udp'].includes(bus.link.kind);
  const [least, most] = isNetwork ? [0, 255] : [1, 247];
  if (bus !== null && (raw.unitId < least || raw.unitId > most)) {
    source.add(
      'error',
      'HF1605',
      [...path, 'unit_id'],
      `${raw.unitId} is outside ${least}..${most}${isNetwork ? '' : ' (0..255 on TCP)'}`,
    );
  }
  const ofMaps = (key: RangesKey): Range[] =>
    maps.flatMap(({ value, source: file }) =>
      rangesOf(value?.[key], file, [key], numberingOf(value?.numbering, 'pdu')),
    );
  const ofDevice = (key: RangesKey): Range[] =>
    rangesOf(input[key], source, [...path, key], raw.numbering ?? 'pdu');
  return {
    index,
    name: raw.name,
    bus: bus ?? NO_BUS,
    unitId: raw.unitId,
    limits: limitsOf(input.limits, ...maps.map(({ value }) => value?.limits)),
    forbidden: [...ofMaps('forbidden'), ...ofDevice('forbidden')],
    readable: input.readable === undefined ? ofMaps('readable') : ofDevice('readable'),
    offline: {
      afterFailures: input.offline?.after ?? 3,
      retryMinMs: input.offline?.retry?.minMs ?? 500,
      retryMaxMs: input.offline?.retry?.maxMs ?? 60_000,
    },
    map: map?.name ?? null,
    topic,
  };
}

/** Two devices on one unit of a bus are seldom meant. */
export function checkUnits(devices: readonly RawDevice[]): void {
  const seen = new Map<string, RawDevice>();
  for (const device of devices) {
    const key = `${device.input.bus}\n${device.unitId}`;
    const other = seen.get(key);
    if (other !== undefined) {
      device.source.add(
        'warning',
        'HF2101',
        [...device.path, 'unit_id'],
        `${device.name} and ${other.name} are both unit ${device.unitId} of bus ${device.input.bus}; one device is usually meant`,
      );
    } else seen.set(key, device);
  }
}

/** Stands for a bus that is not there, so that the rest is checked all the same. */
export const NO_BUS: Bus = {
  index: -1,
  name: '',
  link: { kind: 'tcp', host: '', port: 502, tls: null },
  timeoutMs: 0,
  inFlight: 1,
  paceMs: 0,
  afterConnectMs: 0,
  closeIdleMs: 0,
  silenceMs: null,
  turnaroundMs: 0,
  afterSwitchMs: 0,
  share: null,
};

type LimitsInput = DeviceInput['limits'];

/** Of several that say something the first counts. */
export function limitsOf(...said: readonly LimitsInput[]): DeviceLimits {
  const first = <K extends keyof NonNullable<LimitsInput>>(key: K): NonNullable<LimitsInput>[K] | undefined =>
    said.find((limits) => limits?.[key] !== undefined)?.[key];
  return {
    registers: first('registers') ?? QUANTITY_MAX.readRegisters,
    bits: first('bits') ?? QUANTITY_MAX.readBits,
    registersMin: first('registers_min') ?? 1,
    align: first('align') ?? 1,
    bitsFromZero: first('bits_from_zero') ?? false,
    writeFunctions: first('write') ?? [],
  };
}

type RangesKey = 'forbidden' | 'readable';

/** "holding:100-119", counted as the other addresses of that place are. */
function rangesOf(
  texts: readonly string[] | undefined,
  source: Source,
  at: Path,
  numbering: Numbering,
): Range[] {
  return (texts ?? []).flatMap((text, index) => {
    const match = /^(coil|discrete|input|holding):\s*(\d+)(?:-(\d+))?$/.exec(text);
    if (match === null) return [];
    const [, table, from = '', to = from] = match;
    const key = table as AddressKey; // the expression allows these only
    const [first, last] = [
      addressOf(key, from, { numbering, variables: {} }),
      addressOf(key, to, { numbering, variables: {} }),
    ];
    const complain = (problem: string): [] => {
      source.add('error', 'HF1303', [...at, index], `${text}: ${problem}`);
      return [];
    };
    if (typeof first === 'string') return complain(first);
    if (typeof last === 'string') return complain(last);
    const quantity = last.address - first.address + 1;
    if (quantity < 1) return complain('ends before it begins; write the lower address first');
    return [{ ...first, quantity }];
  });
}
