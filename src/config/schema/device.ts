/** A device and a device map: tags, groups, repeats, and what the device cannot do. */
import * as z from 'zod/mini';
import { parseDuration, parseNumbers } from '../units.js';
import { levelShape } from './level.js';
import { tagMap, tagReference } from './tag.js';
import {
  type Said,
  about,
  address,
  largeNumber,
  duration,
  parsed,
  shown,
  slugText,
  text,
  truth,
  whole,
} from './words.js';
import { word } from './write.js';

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
    ranges().check(
      about(
        'Never read, not even between two tags: `["holding:7", "input:100-119"]`, in the numbering of the other addresses there.',
      ),
    ),
  ),
  readable: z.optional(
    ranges().check(about('If given, nothing outside is read; written as `forbidden` is.')),
  ),
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

export const deviceSchema = z.strictObject({
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

const expected = () => {
  const one = () => z.union([z.number(), z.bigint(), z.boolean(), z.string()]);
  return z.union([one(), z.array(one()).check(z.minLength(1)), z.strictObject({ min: z.optional(largeNumber()), max: z.optional(largeNumber()) })], {
    error: ({ input }: Said) => `${shown(input)} is not what a value can be; write 71, [71, 72], a part of a text, unit_id, or { min: 45, max: 65 }`,
  });
}; // prettier-ignore

const identifySchema = z.strictObject({
  text: z.optional(
    z
      .union([text(), z.array(text()).check(z.minLength(1))])
      .check(
        about(
          'Part of what the device says that it is (functions 43/14 and 17, or the common model of SunSpec), in capitals or not; of a list one is enough.',
        ),
      ),
  ),
  registers: z.optional(
    z
      .array(
        z.strictObject({
          holding: z.optional(address().check(about('The first holding register.'))),
          input: z.optional(address().check(about('The first input register.'))),
          equals: z
            .union([word(), z.array(word()).check(z.minLength(1), z.maxLength(16))])
            .check(about('Its raw value, or those of it and the registers behind it.')),
        }),
      )
      .check(about('Registers with a fixed content: `[{ holding: 11, equals: 0x47 }]`.')),
  ),
  values: z.optional(
    z
      .record(z.string(), expected())
      .check(
        about(
          'Tags and what they must be: a value, a list of which it is one, a part of its text, `unit_id` (the unit that answers), or `{ min: 45, max: 65 }`.',
        ),
      ),
  ),
});

export const mapSchema = z.strictObject({
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
  identify: z.optional(
    identifySchema.check(
      about(
        'What `scan` recognises such a device by; all of it must hold, and what is `plausible` as well. A device that answers everything with zeros must not fit.',
      ),
    ),
  ),
  include: z.optional(
    z
      .array(text())
      .check(
        about(
          'Other device maps whose tags come first, with what these maps say for all of them and for the device.',
        ),
      ),
  ),
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

export type MapInput = z.output<typeof mapSchema>;
export type IdentifyInput = z.output<typeof identifySchema>;
export type DeviceInput = z.output<typeof deviceSchema>;
export type RepeatInput = z.output<typeof repeatSchema>;
