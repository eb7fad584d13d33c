/**
 * The one schema of gateway files and device maps: keys, types, defaults and what each key is for. Types, checks, the
 * JSON Schema files for editors and docs/configuration.md come from here. What one key alone cannot tell (a topic used
 * twice, a tag that is not there) is checked where the Plant is built.
 */
import * as z from 'zod/mini';
import { ORDER_NAMES } from '../modbus/values.js';
import { nameOf } from './problems.js';
import { VALUE_TYPES } from './types.js';
import { parseDuration, parseNumbers, parseRange, parseSize } from './units.js';

// No code is made from text, here neither.
z.config({ jitless: true });

/** What an editor and the reference page say of a key. */
/** zod leaves `default` out where a text becomes something else, so it travels under another name. */
const DEFAULT = 'x-default';

function about(description: string, otherwise?: string | number | boolean) {
  return z.meta(otherwise === undefined ? { description } : { description, [DEFAULT]: otherwise });
}

type Said = { readonly input?: unknown };

function shown(input: unknown): string {
  if (input === undefined) return 'nothing';
  if (typeof input === 'string')
    return JSON.stringify(input.length > 60 ? `${input.slice(0, 57)}...` : input);
  if (typeof input === 'object' && input !== null) return Array.isArray(input) ? 'a list' : 'a map';
  return input === null ? 'an empty value' : String(input);
}

/** A text that a parser must understand. */
function parsed<T>(parse: (text: string) => T | null, pattern: RegExp, what: string) {
  const error = ({ input }: Said): string => `${shown(input)} is not ${what}`;
  const text = z.string({ error }).check(
    z.regex(pattern, { error }),
    z.refine((value) => parse(value) !== null, { error, abort: true }),
  );
  return z.pipe(
    text,
    z.transform((value: string): T => parse(value) as T), // refine has seen that it parses
  );
}

const whole = (min: number, max: number, what = 'a whole number') => {
  const error = ({ input }: Said): string =>
    `${shown(input)} is not ${what} from ${min} to ${max}${hintOfNumber(input)}`;
  return z.number({ error }).check(z.int({ error }), z.gte(min, { error }), z.lte(max, { error }));
};

const number = (what = 'a number') => {
  const error = ({ input }: Said): string => `${shown(input)} is not ${what}${hintOfNumber(input)}`;
  return z.number({ error });
};

/** A number that may be an integer beyond 2^53, which the loader keeps with all its digits. */
const largeNumber = (what?: string) =>
  z.pipe(
    z.union([number(what), z.bigint()]),
    z.transform((value: number | bigint) => Number(value)),
  );

function hintOfNumber(input: unknown): string {
  if (typeof input === 'string' && /^[-+]?[\d_]*\d_[\d_]*$/.test(input))
    return `; write ${input.replaceAll('_', '')}`;
  if (typeof input === 'string' && /^[-+]?[\d.]+,\d+$/.test(input))
    return `; write ${input.replace(',', '.')}`;
  if (typeof input === 'string' && /^[-+]?[\d.]+$/.test(input)) return '; remove the quotes';
  const [, above, below] = /^([\d.]+)\s*\/\s*([\d.]+)$/.exec(typeof input === 'string' ? input : '') ?? [];
  if (above !== undefined && Number(below) > 0)
    return `; write ${Number((Number(above) / Number(below)).toPrecision(12))}`;
  return '';
}

const truth = () =>
  z.boolean({
    error: ({ input }: Said): string => {
      const word = typeof input === 'string' ? input.toLowerCase() : '';
      const meant = { yes: 'true', on: 'true', y: 'true', no: 'false', off: 'false', n: 'false' }[word];
      return `${shown(input)} is not true or false${meant === undefined ? '' : `; YAML 1.2 reads it as text, write ${meant}`}`;
    },
  });

const text = (what = 'a text') =>
  z.string({
    error: ({ input }: Said): string => {
      const isMeant = what === 'a text' && (typeof input === 'number' || typeof input === 'boolean');
      return `${shown(input)} is not ${what}${isMeant ? '; put it in quotes if it is meant as text' : ''}`;
    },
  });

const duration = () =>
  parsed(
    parseDuration,
    /^\d+(\.\d+)?(ms|s|m|h|d)$/,
    'a duration; write a number and its unit: 500ms, 1s, 5m, 2h or 1d',
  );
const size = () =>
  parsed(
    parseSize,
    /^\d+(\.\d+)?(B|KiB|MiB|GiB|kB|KB|MB|GB)$/,
    'a size; write a number and its unit: 64KiB, 16MiB or 1GiB',
  );

/** The letters that names may have, so that every topic survives every broker upstream. */
export const SLUG = /^[A-Za-z0-9_-]{1,64}$/;
const slugText = (what: string) => {
  const error = ({ input }: Said): string =>
    `${shown(typeof input === 'string' ? nameOf(input) : input)} is not ${what}; use A-Z a-z 0-9 _ -, at most 64`;
  return z.string({ error }).check(
    z.refine((key) => SLUG.test(nameOf(key)), { error }),
    z.meta({ pattern: SLUG.source }),
  );
};

/* ---- tags ---------------------------------------------------------------------------------------------------- */

type OrderName = keyof typeof ORDER_NAMES;
const order = () =>
  z.pipe(
    z.enum(Object.keys(ORDER_NAMES) as OrderName[]), // the keys of that very table
    z.transform((name: OrderName) => ORDER_NAMES[name]),
  );

const numbering = () => z.enum(['pdu', 'one-based', 'modicon']);
const address = () =>
  z.union([z.number(), text('an address')], {
    error: ({ input }: Said) => `${shown(input)} is not an address; write a number`,
  });
const rate = () =>
  text('a rate; write a duration with its unit (500ms, 1s), a name under rates, or once').check(
    z.minLength(1),
  );
const deadband = () =>
  z.union([
    number('a deadband; write a number, or a share such as "1%"').check(z.gte(0)),
    z.string().check(
      z.regex(/^\d+(\.\d+)?%$/, {
        error: ({ input }: Said) =>
          `${shown(input)} is not a deadband; write a number, or a share such as "1%"`,
      }),
    ),
  ]);

/** Keys that make sense from `defaults` down to a tag; the lowest that says something counts. */
const levelShape = {
  rate: z.optional(
    rate().check(about('How often it is read: a name under `rates`, a duration, or `once`.', 'normal')),
  ),
  report: z.optional(
    z
      .enum(['change', 'always'])
      .check(about('`change`: published when it changed; `always`: after every poll.', 'change')),
  ),
  deadband: z.optional(
    deadband().check(
      about('The change that is too small to count, in units of the value or as a share such as `1%`.', 0),
    ),
  ),
  heartbeat: z.optional(
    duration().check(
      about('The longest silence: published again after so long though nothing changed. `0s`: never.', '60s'),
    ),
  ),
  payload: z.optional(
    z
      .enum(['vqt', 'raw', 'batch'])
      .check(
        about(
          '`vqt`: value, quality, time as JSON; `raw`: the bare value; `batch`: one JSON per device and poll.',
          'vqt',
        ),
      ),
  ),
  qos: z.optional(z.literal([0, 1, 2]).check(about('QoS of what is published.', 1))),
  retain: z.optional(
    truth().check(about('Whether the broker keeps the last value for new subscribers.', true)),
  ),
  stored: z.optional(
    truth().check(
      about(
        'Whether the retained value is kept across a restart. The first poll is fresher, so usually not.',
        false,
      ),
    ),
  ),
  order: z.optional(
    order().check(
      about(
        'Byte order over the whole value: ABCD (big), CDAB (low word first), BADC, DCBA (little); 64-bit forms spell out eight letters.',
        'ABCD',
      ),
    ),
  ),
  numbering: z.optional(
    numbering().check(
      about('How addresses are written: `pdu` from 0, `one-based` from 1, `modicon` as 40001.', 'pdu'),
    ),
  ),
};

const word = () => whole(0, 65_535, 'the raw value of a register: a whole number');
const writeStepSchema = z.strictObject({
  coil: z.optional(address().check(about('The coil that is written.'))),
  holding: z.optional(address().check(about('The first register that is written.'))),
  value: z.union([word(), truth(), z.array(word()).check(z.minLength(1), z.maxLength(123))], {
    error: ({ input }: Said) => `${shown(input)} is not a raw value; write 0x5AA5, true, or a list of registers`,
  }).check(about('Raw: a register, a list of registers, or true and false for a coil.')),
}); // prettier-ignore
const commandValue = () => z.union([number('a value'), z.bigint(), z.boolean(), z.string()]);

const writeMapShape = {
  coil: z.optional(address().check(about('Written here instead of where it is read.'))),
  holding: z.optional(address().check(about('Written here instead of where it is read.'))),
  min: z.optional(largeNumber().check(about('The least value accepted, in units of the value.'))),
  max: z.optional(largeNumber().check(about('The greatest value accepted.'))),
  step: z.optional(number().check(z.gt(0), about('Values are `min` plus a multiple of this.'))),
  verify: z.optional(
    truth().check(
      about(
        'Read back and compare after the write, before it is answered. While further commands wait, the answer comes at once and the read-back when the burst is over.',
        true,
      ),
    ),
  ),
  with: z.optional(
    z
      .enum(['auto', 'mask', 'read-modify-write'])
      .check(about('How a bit or bit range is written: mask write (function 22), or read, change, write.')),
  ),
  functions: z.optional(
    z
      .array(z.literal([5, 6, 15, 16, 22]))
      .check(about('Function codes that the device accepts for this, best first.')),
  ),
  newest_only: z.optional(
    truth().check(about('Of several waiting commands only the newest is carried out.', false)),
  ),
  before: z.optional(
    z
      .array(writeStepSchema)
      .check(
        about('Written before it each time, such as an unlock code: `[{ holding: 9000, value: 0x5AA5 }]`.'),
      ),
  ),
  after: z.optional(z.array(writeStepSchema).check(about('Written after it each time, such as a commit.'))),
  pulse: z.optional(duration().check(about('A pulse: so long after the write, `rest` is written.'))),
  rest: z.optional(commandValue().check(about('What a pulse ends with; false or 0 unless given.'))),
  refresh: z.optional(
    duration().check(about('Written again so often, for devices that fall back when they hear nothing.')),
  ),
  hold: z.optional(
    duration().check(
      about('With `refresh`: for so long after the last command; as long as the gateway runs unless given.'),
    ),
  ),
  fallback: z.optional(
    commandValue().check(about('With `refresh`: written when `hold` is over and when the gateway stops.')),
  ),
  initial: z.optional(
    commandValue().check(about('With `refresh`: written from the start, before any command (a heartbeat).')),
  ),
  broadcast: z.optional(
    truth().check(about('Written to all units of a serial line at once; nobody answers.', false)),
  ),
  max_per_hour: z.optional(
    whole(1, 1_000_000).check(about('More commands in an hour are refused, where writing wears the device.')),
  ),
};

const bitsRange = () => {
  const error = ({ input }: Said): string =>
    `${shown(input)} is not a range of bits; write 4-6, with 0 the lowest bit and at most 63`;
  const understood = (value: string | number): boolean => (parseRange(String(value))?.last ?? 64) <= 63;
  return z.pipe(
    z.union([z.string(), z.number()], { error }).check(z.refine(understood, { error, abort: true })),
    z.transform((value: string | number) => parseRange(String(value)) ?? { first: 0, last: 0 }),
  );
};

const tagReference = () => text('the name of a tag');

const tagShape = {
  coil: z.optional(address().check(about('Address in the table of coils (bits, readable and writable).'))),
  discrete: z.optional(address().check(about('Address in the table of discrete inputs (bits, read-only).'))),
  input: z.optional(address().check(about('Address in the table of input registers (read-only).'))),
  holding: z.optional(
    address().check(about('Address in the table of holding registers (readable and writable).')),
  ),
  at: z.optional(
    address().check(about('Address as a Modicon reference: 40101, 400101, or "00001" in quotes.')),
  ),
  value: z.optional(
    text('a formula; write it in quotes').check(
      z.minLength(1),
      about('Calculated from other tags of the device instead of read: `"voltage * current / 1000"`.'),
    ),
  ),
  select: z.optional(
    writeStepSchema.check(
      about(
        'A page: written before the registers are read or written, such as `{ holding: 4000, value: 12 }`.',
      ),
    ),
  ),
  type: z.optional(z.enum(VALUE_TYPES).check(about('How the registers are read.'))),
  count: z.optional(whole(1, 125).check(about('Registers that a string takes.'))),
  bytes: z.optional(
    z
      .enum(['both', 'swapped', 'high', 'low'])
      .check(about('Which bytes of a register hold characters of a string.')),
  ),
  encoding: z.optional(z.enum(['ascii', 'latin1', 'utf-8', 'utf-16']).check(about('Code page of a string.'))),
  pad: z.optional(whole(0, 255).check(about('Byte that fills the rest of a string when it is written.'))),
  scale: z.optional(
    z
      .union([
        number('a factor').check(
          z.refine((value) => value !== 0, { error: 'a scale of 0 makes every value 0; write the factor' }),
        ),
        z.strictObject({ pow10_of: tagReference() }),
        z.strictObject({ value_of: tagReference() }),
      ])
      .check(
        about(
          'value = raw x scale. Or the tag that holds it: `{ pow10_of: TAG }` (10 to the power of its raw value), `{ value_of: TAG }`.',
        ),
      ),
  ),
  offset: z.optional(number().check(about('Added after the scale.'))),
  bit: z.optional(whole(0, 63).check(about('One bit of a register as true or false; 0 is the lowest.'))),
  bits: z.optional(
    bitsRange().check(about('Some bits of a register as a number, such as 4-6; 0 is the lowest.')),
  ),
  enum: z.optional(
    z
      .record(
        z.string().check(
          z.regex(/^(-?\d+|0x[\da-fA-F]+)$/, {
            error: 'the keys of an enum are raw values: whole numbers',
          }),
        ),
        z.union([z.string(), z.number(), z.boolean()]),
      )
      .check(about('Raw value to text.')),
  ),
  flags: z.optional(
    z
      .record(z.string().check(z.regex(/^\d{1,2}$/, { error: 'the keys of flags are bit numbers' })), text())
      .check(about('Bit number to name; the value is the names of the set bits, joined by commas.')),
  ),
  invalid: z.optional(
    z
      .union([z.literal('auto'), z.array(z.union([z.number(), z.bigint(), z.literal('nan')]))])
      .check(
        about(
          'Raw values that mean "not available". `auto`: what is usual for the type (all ones, the lowest or highest signed value, NaN).',
        ),
      ),
  ),
  plausible: z.optional(
    z
      .strictObject(
        {
          min: z.optional(number()),
          max: z.optional(number()),
          max_per_second: z.optional(number().check(z.gt(0))),
        },
        {
          error: ({ input, code }) =>
            code === 'invalid_type'
              ? `${shown(input)} is not a range; write { min: 0, max: 1000 }`
              : undefined,
        },
      )
      .check(
        about(
          'What is believed; a value outside is published as uncertain. `scan` uses it to recognise a device.',
        ),
      ),
  ),
  counter: z.optional(
    z
      .union([
        truth(),
        z.strictObject({ modulo: largeNumber('the number of values of the counter').check(z.gt(0)) }),
      ])
      .check(about('The value only grows; with `modulo` it rolls over there.')),
  ),
  unit: z.optional(text().check(about('Unit of engineering.'))),
  description: z.optional(text().check(about('What it is, for people.'))),
  write: z.optional(
    z
      .union([truth(), z.strictObject(writeMapShape)])
      .check(about('Whether and how commands may write it. Nothing is written that does not say so.')),
  ),
  topic: z.optional(text().check(about('Its data topic, instead of the pattern.'))),
  ...levelShape,
};
const tagSchema = z.strictObject(tagShape);
const tagOrFalse = () =>
  z.union([z.literal(false), tagSchema], {
    error: ({ input }: Said) =>
      `${shown(input)} is not a tag; write where it is, such as { holding: 0, type: int16 }`,
  });

/** Placeholders of `repeat` and of unit lists may stand in names. */
const NAME = /^[A-Za-z0-9_{}-]{1,128}$/;
const name = (what: string) =>
  z.string().check(
    z.refine((key) => NAME.test(nameOf(key)), {
      error: ({ input }: Said) => `${shown(nameOf(String(input)))} is not ${what}; use A-Z a-z 0-9 _ -`,
    }),
    z.meta({ pattern: NAME.source }),
  );
const tagMap = () => z.record(name('a tag name'), tagOrFalse());

/* ---- devices and maps ---------------------------------------------------------------------------------------- */

const numbers = () => {
  const error = ({ input }: Said): string =>
    `${shown(input)} is not a list of numbers; write 10-19 or "1,2,5-18"`;
  return z.union([
    whole(0, 65_535),
    z.pipe(
      z.string({ error }).check(z.refine((value) => parseNumbers(value) !== null, { error })),
      z.transform((value: string) => parseNumbers(value) ?? []),
    ),
    z.array(whole(0, 65_535)),
  ]);
};

const repeatSchema = z.strictObject({
  for: z
    .record(slugText('a name of a variable'), numbers())
    .check(about('Variables and the numbers they take, such as `{ n: 1-3 }`.')),
  tags: tagMap().check(
    about('Tags made once for each number: `{n}` in names, `"6 + 2*(n-1)"` in addresses.'),
  ),
});

const limitsSchema = z.strictObject({
  registers: z.optional(whole(1, 125).check(about('The most registers of one read.', 125))),
  bits: z.optional(whole(1, 2000).check(about('The most bits of one read.', 2000))),
  registers_min: z.optional(whole(1, 125).check(about('The fewest registers of one read.', 1))),
  align: z.optional(whole(1, 64).check(about('Start and length of a read are multiples of this.', 1))),
  bits_from_zero: z.optional(
    truth().check(about('Coils and discrete inputs are read from address 0 on only.', false)),
  ),
  write: z.optional(
    z
      .array(z.literal([5, 6, 15, 16, 22, 23]))
      .check(about('Function codes that writes may use, best first.')),
  ),
});

const RANGE_OF_TABLE = /^(coil|discrete|input|holding):\s*(\d+)(-(\d+))?$/;
const ranges = () =>
  z.array(
    z.string().check(
      z.regex(RANGE_OF_TABLE, {
        error: ({ input }: Said) => `${shown(input)} is not a range; write "holding:7" or "input:100-119"`,
      }),
    ),
  );

const groupShape = {
  consistent: z.optional(
    truth().check(
      about('Its tags are read in one request and published as one JSON on `batch/<device>/<group>`.'),
    ),
  ),
  tags: z.optional(
    z
      .union([z.array(tagReference()), tagMap()])
      .check(
        about(
          'Names of tags that are there, or tags of its own, whose topics get the name of the group as a level.',
        ),
      ),
  ),
  repeat: z.optional(z.array(repeatSchema)),
  ...levelShape,
};
export interface GroupInput extends z.output<z.ZodMiniObject<typeof groupShape>> {
  groups?: Record<string, GroupInput> | undefined;
}
const groupSchema: z.ZodMiniType<GroupInput, unknown> = z.lazy(() =>
  z.strictObject({ ...groupShape, groups: z.optional(z.record(slugText('a group name'), groupSchema)) }),
) as z.ZodMiniType<GroupInput, unknown>; // the input type of a recursive schema cannot be inferred

const RETRY = /^(\d+(?:\.\d+)?(?:ms|s|m|h))\.\.(\d+(?:\.\d+)?(?:ms|s|m|h))$/;
const retry = () =>
  parsed(
    (value) => {
      const match = RETRY.exec(value);
      if (match === null) return null;
      const [minMs, maxMs] = [parseDuration(match[1] ?? ''), parseDuration(match[2] ?? '')];
      return minMs === null || maxMs === null || minMs > maxMs ? null : { minMs, maxMs };
    },
    RETRY,
    'a range of durations; write 1s..60s',
  );

/** What a device map and a device have in common. */
const deviceShape = {
  ...levelShape,
  limits: z.optional(limitsSchema.check(about('What the device accepts in one request.'))),
  forbidden: z.optional(
    ranges().check(about('Never read, not even between two tags: `["holding:7", "input:100-119"]`.')),
  ),
  readable: z.optional(ranges().check(about('If given, nothing outside is read.'))),
  tags: z.optional(
    tagMap().check(
      about('The values; each names its table and address. `NAME: false` leaves out a tag of the map.'),
    ),
  ),
  groups: z.optional(
    z.record(slugText('a group name'), groupSchema).check(about('Tags that belong together.')),
  ),
  repeat: z.optional(z.array(repeatSchema).check(about('Tags that differ by a number only.'))),
};

const deviceSchema = z.strictObject({
  bus: text('the name of a bus').check(about('The bus it is on.')),
  unit_id: numbers().check(
    about(
      'Its unit identifier; a list such as 10-19 makes as many devices, and `{unit_id}` stands in the name.',
    ),
  ),
  map: z.optional(
    text('the name of a device map').check(
      about('Device map: looked for beside the file, in devices/ beside it, then in what is shipped.'),
    ),
  ),
  offline: z.optional(
    z
      .strictObject({
        after: z.optional(
          whole(1, 1000).check(about('Failures in a row after which the unit counts as silent.', 3)),
        ),
        retry: z.optional(
          retry().check(about('How long it is left alone then: from..to, doubling.', '500ms..60s')),
        ),
      })
      .check(about('When a silent unit is left alone, and when it is asked again.')),
  ),
  description: z.optional(text().check(about('What it is, for people.'))),
  ...deviceShape,
});

const mapSchema = z.strictObject({
  version: z
    .literal(1, {
      error: ({ input }: Said) => `${shown(input)} is not a version that is understood; write version: 1`,
    })
    .check(about('Version of the file format.')),
  title: text().check(about('Maker and model.')),
  models: z.optional(z.array(text()).check(about('Models that it fits.'))),
  sources: z.array(text()).check(about('Where the addresses come from.')),
  verified: text().check(
    z.regex(/^(hardware|documents\(\d+\)|none)$/, {
      error: ({ input }: Said) =>
        `${shown(input)} is not one of hardware, documents(n) (n independent lists agree), none`,
    }),
    about('`hardware`, or `documents(n)`: so many independent lists agree.'),
  ),
  notes: z.optional(z.array(text()).check(about('Quirks and differences between sources, for people.'))),
  include: z.optional(z.array(text()).check(about('Other device maps whose tags come first.'))),
  bus: z.optional(
    z
      .strictObject({
        timeout: z.optional(duration()),
        pace: z.optional(duration()),
        after_connect: z.optional(duration()),
        in_flight: z.optional(whole(1, 64)),
        turnaround: z.optional(duration()),
        after_switch: z.optional(duration()),
      })
      .check(about('What the device needs of its bus; a bus that says otherwise itself wins.')),
  ),
  ...deviceShape,
});

/* ---- buses --------------------------------------------------------------------------------------------------- */

const shareSchema = z.strictObject({
  host: z.optional(text().check(about('Address to listen on.', '127.0.0.1'))),
  port: whole(0, 65_535).check(about('TCP port; 0 picks a free one, named in the log.')),
  allow: z.optional(
    z
      .array(text('an address'))
      .check(
        about(
          'Addresses and networks that may connect: `["10.0.0.7", "10.0.1.0/24"]`. This machine unless given; must be given when `host` is another address.',
        ),
      ),
  ),
  write: z.optional(
    z
      .union([truth(), z.array(text('an address'))])
      .check(about('Whether clients may write, or the addresses of those that may.', false)),
  ),
  fresh: z.optional(
    duration().check(
      about('What was read so lately is answered at once, without asking the unit again.', '0s'),
    ),
  ),
  max_clients: z.optional(whole(1, 1000).check(about('Connections at once.', 16))),
});

const SERIAL_FORMAT = /^[78][NEOneo][12]$/;
const BUS_PROTOCOLS = ['tcp', 'tls', 'udp', 'rtu', 'ascii', 'rtu-over-tcp', 'ascii-over-tcp'] as const;
const busSchema = z.strictObject({
  protocol: z.enum(BUS_PROTOCOLS).check(about('Modbus on the wire. A converter that only carries bytes is `rtu-over-tcp`.')),
  host: z.optional(text().check(about('Address of the device or converter.'))),
  port: z.optional(whole(1, 65_535).check(about('TCP or UDP port; 502, or 802 with TLS.'))),
  path: z.optional(text().check(about('Serial port; /dev/serial/by-id/... survives replugging.'))),
  baud: z.optional(whole(50, 4_000_000).check(about('Speed of a serial line.', 9600))),
  format: z.optional(z.string().check(z.regex(SERIAL_FORMAT, { error: ({ input }: Said) => `${shown(input)} is not a format; write data bits, parity, stop bits: 8N1, 8E1, 8N2, 7E1` }), about('Data bits, parity (N, E, O), stop bits.'))),
  timeout: z.optional(duration().check(about('The longest wait for an answer.'))),
  in_flight: z.optional(whole(1, 64).check(about('Requests under way at once, on TCP only.', 1))),
  pace: z.optional(duration().check(about('Pause between one exchange and the next.', '0s'))),
  after_connect: z.optional(duration().check(about('Wait after connecting, before the first request.', '0s'))),
  close_idle: z.optional(duration().check(about('Close the connection after so long without work.'))),
  silence: z.optional(duration().check(about('Silence between frames; 3.5 characters unless given.'))),
  turnaround: z.optional(duration().check(about('How long a device usually thinks, until it was measured; waited after a broadcast.'))),
  echo: z.optional(truth().check(about('The adapter hands back what was sent.', false))),
  tls: z.optional(
    z.strictObject({
      ca: z.optional(text()),
      cert: z.optional(text()),
      key: z.optional(text()),
      server_name: z.optional(text()),
    }).check(about('Modbus/TCP Security: files of the authority, the certificate and the key.')),
  ),
  after_switch: z.optional(duration().check(about('Pause before a request to another unit than the last one.', '0s'))),
  share: z.optional(shareSchema.check(about('A Modbus TCP port through which other masters reach the same units, in turn with the polls.'))),
  rate: levelShape.rate, report: levelShape.report, deadband: levelShape.deadband, heartbeat: levelShape.heartbeat,
  payload: levelShape.payload, qos: levelShape.qos, retain: levelShape.retain, stored: levelShape.stored,
  order: levelShape.order, numbering: levelShape.numbering,
}); // prettier-ignore

/* ---- broker -------------------------------------------------------------------------------------------------- */

const tlsSchema = z.strictObject({
  cert: text().check(about('Certificate, PEM.')),
  key: text().check(about('Its private key, PEM.')),
  client_ca: z.optional(text().check(about('Authority of client certificates, PEM.'))),
  require_client_cert: z.optional(truth().check(about('Refuse clients without one.', false))),
});

const listenerSchema = z.strictObject({
  protocol: z.optional(
    z
      .enum(['mqtt', 'mqtts', 'ws', 'wss', 'unix'])
      .check(about('mqtt, mqtts (TLS), ws, wss (WebSocket), unix.')),
  ),
  unix: z.optional(text().check(about('Path of a Unix socket.'))),
  host: z.optional(text().check(about('Address to listen on; 127.0.0.1 unless given.'))),
  port: z.optional(whole(0, 65_535).check(about('0 picks a free one.'))),
  path: z.optional(text().check(about('URL path of ws and wss.', '/mqtt'))),
  tls: z.optional(tlsSchema),
  anonymous: z.optional(truth().check(about('For this listener, instead of `broker.anonymous`.'))),
});

const right = () => z.enum(['read', 'write', 'subscribe']);
const accessSchema = z.strictObject({
  user: z.optional(text().check(about('For this user; without user, group and client for everybody.'))),
  group: z.optional(text().check(about('For the users of this group.'))),
  client: z.optional(text().check(about('For this client identifier.'))),
  allow: z.optional(z.array(right()).check(about('What it allows: read, write, subscribe.'))),
  deny: z.optional(z.array(right()).check(about('What it denies.'))),
  topic: text('a topic filter').check(about('Topic filter; {user} and {client} are filled in.')),
});

const limit = (what: string, otherwise?: number) =>
  z.optional(whole(1, 2 ** 31).check(about(what, otherwise)));
const brokerLimitsSchema = z.strictObject({
  max_connections: limit('Connections at once.', 10_000),
  max_connections_per_address: limit('Connections at once from one address.'),
  connect_timeout: z.optional(duration().check(about('How long a CONNECT may take to come.', '10s'))),
  max_packet_size: z.optional(size().check(about('The largest packet from a client.', '256KiB'))),
  max_connect_size: z.optional(size().check(about('The largest CONNECT.', '256KiB'))),
  max_topic_levels: limit('Levels of a topic or filter.', 65_536),
  max_subscriptions_per_client: limit('Subscriptions of one client.', 100_000),
  max_inflight: z.optional(whole(1, 65_535).check(about('Unacknowledged messages towards one client.', 100))),
  max_queued_messages: limit('Messages kept for one session; the oldest is dropped beyond.'),
  max_queued_bytes: z.optional(
    size().check(about('Bytes kept for one session; the oldest message is dropped beyond.', '64MiB')),
  ),
  max_retained_messages: limit('Retained messages in all.', 1_000_000),
  max_retained_bytes: z.optional(size().check(about('Bytes of retained messages in all.', '256MiB'))),
  max_sessions: limit('Sessions in all.', 100_000),
  max_session_expiry: z.optional(
    duration().check(about('The longest that a session is kept for a client that is away.')),
  ),
  max_keep_alive: z.optional(duration().check(about('The longest keep alive.', '65535s'))),
  messages_per_second: limit('Messages from one client.'),
  bytes_per_second: z.optional(size().check(about('Bytes a second from one client.'))),
  max_outbox_size: z.optional(
    size().check(about('Unsent bytes of one connection above which QoS 0 to it is dropped.', '8MiB')),
  ),
  max_memory: z.optional(size().check(about('Memory of the process above which load is shed.'))),
});

const storeSchema = z.union([
  z.literal('memory'),
  z.strictObject({
    path: z.optional(text().check(about('Folder of the store.', 'data'))),
    sync: z.optional(
      z
        .enum(['commit', 'interval'])
        .check(about('`commit`: nothing acknowledged is lost; `interval`: kind to flash.', 'commit')),
    ),
    interval: z.optional(duration().check(about('How often it is written with `sync: interval`.', '5s'))),
    max_bytes: z.optional(size().check(about('What it may take on the disk.', '512MiB'))),
  }),
]);

const brokerSchema = z.strictObject({
  listeners: z.optional(
    z
      .array(listenerSchema)
      .check(about('Where clients connect; one mqtt listener on 127.0.0.1:1883 unless given.')),
  ),
  anonymous: z.optional(truth().check(about('Whether clients may connect without a user.', false))),
  anonymous_beyond_loopback: z.optional(
    truth().check(about('Says for the second time that anonymous clients may come from the network.')),
  ),
  users_file: z.optional(text().check(about('Users and their hashed passwords, made by `holdfast passwd`.'))),
  access: z.optional(
    z
      .array(accessSchema)
      .check(about('Who may do what; the first rule that matches counts, what no rule allows is denied.')),
  ),
  store: z.optional(storeSchema.check(about('Where sessions, queues and retained messages are kept.'))),
  limits: z.optional(brokerLimitsSchema.check(about('What one client, and all together, may use.'))),
});

/* ---- uplinks ------------------------------------------------------------------------------------------------- */

/** A word, a text with {names}, or JSON with {names}. */
const payloadForm = () =>
  z.union([z.string(), z.record(z.string(), z.unknown()), z.array(z.unknown())], {
    error: ({ input }: Said) =>
      `${shown(input)} is not a payload; write raw, batch, thingsboard, or a template`,
  });
const FORM_TEXT =
  '`published`: as it was published; `raw`: the bare value; `batch`: the values of one answer of a device in one JSON; `thingsboard`: the same for the gateway API of ThingsBoard; or a template: JSON or text with {names}, such as `{ value: "{v}", time: "{time}" }`.';

const outSchema = z.strictObject({
  from: text('a topic filter').check(about('Filter of the topics here.')),
  to: z.optional(
    text('a topic').check(
      about(
        'Filter there with the same wildcards, or a topic with {names}; the same as `from` unless given.',
      ),
    ),
  ),
  qos: z.optional(z.literal([0, 1, 2]).check(about('The most that is used.', 1))),
  retain: z.optional(z.enum(['keep', 'never']).check(about('`keep`: as it was published.', 'keep'))),
  payload: z.optional(payloadForm().check(about(FORM_TEXT, 'published'))),
});

const inSchema = z.strictObject({
  from: text('a topic filter').check(about('Filter of the topics there.')),
  to: z.optional(
    text('a topic').check(
      about(
        'Filter here with the same wildcards, or a topic with {names} of the message; the same as `from` unless given.',
      ),
    ),
  ),
  qos: z.optional(z.literal([0, 1, 2]).check(about('The most that is used.', 1))),
  retain: z.optional(z.enum(['keep', 'never']).check(about('`keep`: as it was published.', 'keep'))),
  payload: z.optional(
    payloadForm().check(
      about('A template over the members of the JSON that comes, such as `{ v: "{value}", id: "{msgid}" }`.'),
    ),
  ),
});

const messageSchema = z.strictObject({
  when: z.optional(
    z
      .enum(['connect', 'device-online', 'device-degraded', 'device-offline'])
      .check(about('Said on each connection, or when a device changes to this state.')),
  ),
  every: z.optional(duration().check(about('Said so often while connected: a heartbeat.'))),
  to: text('a topic').check(about('Topic there; may hold {names}.')),
  payload: payloadForm().check(about('A template: JSON or text with {names}.')),
  qos: z.optional(z.literal([0, 1, 2]).check(about('QoS.', 1))),
  retain: z.optional(truth().check(about('Kept there for later subscribers.', false))),
});

const uplinkSchema = z.strictObject({
  nodes: z
    .array(text('a URL'))
    .check(
      z.minLength(1),
      about('Brokers of one cluster, tried in turn: mqtt://, mqtts://, ws:// or wss:// and host:port.'),
    ),
  version: z.optional(
    z
      .union([z.enum(['3.1.1', '5']), z.literal(5)])
      .check(about('MQTT version spoken with the far side: 3.1.1 or 5.', '5')),
  ),
  client_id: z.optional(
    text().check(about('Client identifier there; gateway and uplink name unless given.')),
  ),
  user: z.optional(text().check(about('User name there.'))),
  password: z.optional(
    text().check(about('Password; write `${NAME}` or `!file path`, never the password itself.')),
  ),
  keep_alive: z.optional(duration().check(about('Keep alive.', '30s'))),
  tls: z.optional(
    z.strictObject({
      ca: z.optional(text().check(about("Authority of its certificate, PEM; the system's unless given."))),
      cert: z.optional(text().check(about('Our client certificate, PEM.'))),
      key: z.optional(text().check(about('Its private key, PEM.'))),
      server_name: z.optional(text().check(about('Name in its certificate, when it is not the host.'))),
      alpn: z.optional(z.array(text()).check(about('Protocols to offer by ALPN.'))),
      insecure: z.optional(
        truth().check(about('Take any certificate. For a bench, never for a plant.', false)),
      ),
    }),
  ),
  status_topic: z.optional(text().check(about('Topic there that says `online`, and `offline` as the will.'))),
  variables: z.optional(
    z
      .record(slugText('a name of a variable'), text())
      .check(about('Texts that {names} in topics and templates stand for.')),
  ),
  out: z.optional(z.array(outSchema).check(about('What is forwarded; the first rule that matches counts.'))),
  in: z.optional(z.array(inSchema).check(about('What is brought in.'))),
  messages: z.optional(
    z
      .array(messageSchema)
      .check(about('What the gateway says there by itself: on connect, as a heartbeat, of a device.')),
  ),
  announce: z.optional(
    z
      .array(text('a topic filter'))
      .check(
        about(
          'Retained topics that are sent again on each connection; status and device states unless given.',
        ),
      ),
  ),
  queue: z.optional(
    z.strictObject({
      path: z.optional(text().check(about('Folder of the queue; data/uplinks/NAME unless given.'))),
      max_bytes: z.optional(size().check(about('What it may take on the disk.', '256MiB'))),
      max_age: z.optional(duration().check(about('What is older is dropped.', '7d'))),
      drop: z.optional(z.enum(['oldest', 'newest']).check(about('What goes when it is full.', 'oldest'))),
      sync: z.optional(
        z
          .enum(['commit', 'interval'])
          .check(
            about('`interval`: written at once, synced every second; `commit`: synced at once.', 'interval'),
          ),
      ),
      order: z.optional(
        z
          .enum(['oldest-first', 'live-first'])
          .check(about('What goes first after the far side was away.', 'oldest-first')),
      ),
      drain_rate: limit('Messages a second while the backlog drains.'),
      per_topic: z.optional(
        whole(1, 200).check(
          about(
            'Messages of one topic sent and not acknowledged, at most. More are faster where all goes to few topics over a long line; a cluster that loses a node may then swap them.',
            1,
          ),
        ),
      ),
    }),
  ),
});

const redundancySchema = z.strictObject({
  group: slugText('a name of a group').check(about('Gateways with the same group take turns.')),
  member: z.optional(
    slugText('a name').check(about('Name of this gateway among them; the host name unless given.')),
  ),
  servers: z
    .array(text('a URL'))
    .check(z.minLength(1), about('NATS servers with JetStream that keep the lease: nats://host:4222.')),
  user: z.optional(text().check(about('User name there.'))),
  password: z.optional(
    text().check(about('Password; write `${NAME}` or `!file path`, never the password itself.')),
  ),
  ttl: z.optional(
    duration().check(
      about(
        'The lease expires so long after its last renewal; the same in every gateway of the group.',
        '6s',
      ),
    ),
  ),
});

/* ---- gateway file -------------------------------------------------------------------------------------------- */

const pattern = (what: string) => z.optional(text('a topic pattern').check(about(what)));
const topicsSchema = z.strictObject({
  status: pattern('`online` or `offline`.'),
  device: pattern('State of a device.'),
  data: pattern('Values.'),
  batch: pattern('Values of one poll in one JSON.'),
  set: pattern('Commands.'),
  get: pattern('Read now.'),
  ack: pattern('Answers to commands.'),
  event: pattern('What happens; ends in {kind}.'),
  req: pattern('Management; ends in {verb}.'),
  res: pattern('Its answers; ends in {verb}.'),
  trace: pattern('Frames of a bus while they are asked for; ends in {bus}.'),
});

const gatewaySchema = z.strictObject({
  version: z
    .literal(1, {
      error: ({ input }: Said) =>
        input === undefined
          ? 'missing; write version: 1'
          : `${shown(input)} is not a version that is understood; write version: 1`,
    })
    .check(about('Version of the file format.')),
  gateway: z.optional(
    z.strictObject({
      id: z.optional(
        slugText('an id').check(about('Name of this gateway in topics; the host name unless given.')),
      ),
      base_topic: z.optional(
        text().check(
          z.regex(/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/, {
            error: ({ input }: Said) =>
              `${shown(input)} is not a base topic; use A-Z a-z 0-9 _ - and / between levels`,
          }),
          about('First level or levels of every topic; holdfast unless given.'),
        ),
      ),
      workers: z.optional(
        whole(0, 64).check(about('Threads that poll; 0: one fewer than there are processor cores.')),
      ),
    }),
  ),
  broker: z.optional(brokerSchema),
  web: z.optional(
    z
      .strictObject({
        host: z.optional(text().check(about('Address to listen on; 127.0.0.1 unless given.'))),
        port: z.optional(whole(0, 65_535).check(about('8080 unless given.'))),
        tls: z.optional(tlsSchema),
        host_names: z.optional(
          z
            .array(text())
            .check(about("Names the page is reached by, beside addresses and this machine's own name.")),
        ),
      })
      .check(about('The page, /healthz, /readyz and /metrics; absent: none.')),
  ),
  rates: z.optional(
    z
      .record(slugText('a name of a rate'), z.union([z.literal('once'), duration()]))
      .check(about('Named rates.')),
  ),
  defaults: z.optional(
    z.strictObject(levelShape).check(about('What holds for every tag that does not say otherwise.')),
  ),
  topics: z.optional(
    topicsSchema.check(about('Patterns of topics; {base} {gateway} {device} {tag} are filled in.')),
  ),
  buses: z.optional(
    z.record(slugText('a name of a bus'), busSchema).check(about('Serial lines and connections.')),
  ),
  devices: z.optional(z.record(name('a device name'), deviceSchema).check(about('What is on the buses.'))),
  uplinks: z.optional(
    z
      .record(slugText('a name of an uplink'), uplinkSchema)
      .check(about('Brokers elsewhere; what they owe an acknowledgement for is kept on the disk.')),
  ),
  home_assistant: z.optional(
    z
      .strictObject({
        prefix: z.optional(
          slugText('a level of a topic').check(about('Its discovery prefix.', 'homeassistant')),
        ),
      })
      .check(about('Tells Home Assistant what devices and values there are; absent: not.')),
  ),
  redundancy: z.optional(
    redundancySchema.check(
      about(
        'Two gateways on one plant: the one that holds the lease polls and writes; absent: this one always does.',
      ),
    ),
  ),
});

export type GatewayInput = z.output<typeof gatewaySchema>;
export type MapInput = z.output<typeof mapSchema>;
export type DeviceInput = z.output<typeof deviceSchema>;
export type BusInput = z.output<typeof busSchema>;
export type TagInput = z.output<typeof tagSchema>;
export type RepeatInput = z.output<typeof repeatSchema>;
export type BrokerInput = NonNullable<GatewayInput['broker']>;
export type UplinkInput = z.output<typeof uplinkSchema>;
export type RedundancyInput = z.output<typeof redundancySchema>;
export type LevelInput = NonNullable<GatewayInput['defaults']>;

export type Issue = z.core.$ZodIssue;
export type Checked<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: readonly Issue[] };

export function checkGateway(value: unknown): Checked<GatewayInput> {
  return result(gatewaySchema.safeParse(value, { reportInput: true }));
}

export function checkMap(value: unknown): Checked<MapInput> {
  return result(mapSchema.safeParse(value, { reportInput: true }));
}

function result<T>(parsed: z.core.util.SafeParseResult<T>): Checked<T> {
  return parsed.success ? { ok: true, value: parsed.data } : { ok: false, issues: parsed.error.issues };
}

/** The keys a map may have at this place, for suggestions. */
export function keysAt(schema: 'gateway' | 'map', path: readonly (string | number)[]): string[] {
  let node: JsonSchema | undefined = jsonSchema(schema);
  const root = node;
  for (const step of path) {
    const next: JsonSchema[] = alternatives(node, root).flatMap((one) => {
      const inner =
        typeof step === 'number' ? one.items : (one.properties?.[step] ?? one.additionalProperties);
      return typeof inner === 'object' ? [inner] : [];
    });
    node = next.length === 1 ? next[0] : { anyOf: next };
  }
  return [...new Set(alternatives(node, root).flatMap((one) => Object.keys(one.properties ?? {})))];
}

export interface JsonSchema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly type?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly description?: string;
  readonly default?: unknown;
}

/** All the plain schemas behind one that may be a choice or a reference. */
export function alternatives(schema: JsonSchema | undefined, root: JsonSchema): JsonSchema[] {
  if (schema === undefined) return [];
  if (schema.$ref !== undefined) return alternatives(resolveReference(schema.$ref, root), root);
  return schema.anyOf === undefined ? [schema] : schema.anyOf.flatMap((one) => alternatives(one, root));
}

function resolveReference(reference: string, root: JsonSchema): JsonSchema | undefined {
  const steps = reference
    .replace(/^#\/?/, '')
    .split('/')
    .filter((step) => step !== '');
  let at: unknown = root;
  for (const step of steps) at = typeof at === 'object' && at !== null ? Reflect.get(at, step) : undefined;
  return at as JsonSchema | undefined; // references of our own schema lead into it
}

/** Below `defaults` the default of a level is what stands above it. */
function stripInherited(schema: unknown, isDefaults: boolean): void {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [key, inner] of Object.entries(schema)) {
    if (key !== 'properties') {
      stripInherited(inner, false);
      continue;
    }
    for (const [name, property] of Object.entries(inner as Record<string, object>)) {
      if (!isDefaults && Object.hasOwn(levelShape, name)) Reflect.deleteProperty(property, 'default');
      stripInherited(property, name === 'defaults');
    }
  }
}

const cache = new Map<string, JsonSchema>();

export function jsonSchema(schema: 'gateway' | 'map'): JsonSchema {
  let known = cache.get(schema);
  if (known === undefined) {
    const made: unknown = z.toJSONSchema(schema === 'gateway' ? gatewaySchema : mapSchema, {
      io: 'input',
      unrepresentable: 'any',
    });
    const plain: unknown = JSON.parse(JSON.stringify(made).replaceAll(`"${DEFAULT}":`, '"default":'));
    stripInherited(plain, false);
    known = plain as JsonSchema; // the part of it that is read here
    cache.set(schema, known);
  }
  return known;
}
