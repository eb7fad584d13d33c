/** A tag: its registers, what they mean, when it is published, who may write it. */
import * as z from 'zod/mini';
import { VALUE_TYPES } from '../types.js';
import { parseRange } from '../units.js';
import { levelShape } from './level.js';
import {
  type Said,
  about,
  address,
  largeNumber,
  moreThan0,
  name,
  number,
  shown,
  text,
  truth,
  whole,
} from './words.js';
import { writeMapShape, writeStepSchema } from './write.js';

const bitsRange = () => {
  const error = ({ input }: Said): string =>
    `${shown(input)} is not a range of bits; write 4-6, with 0 the lowest bit and at most 63`;
  const understood = (value: string | number): boolean => (parseRange(String(value))?.last ?? 64) <= 63;
  return z.pipe(
    z.union([z.string(), z.number()], { error }).check(z.refine(understood, { error, abort: true })),
    z.transform((value: string | number) => parseRange(String(value)) ?? { first: 0, last: 0 }),
  );
};

export const tagReference = () => text('the name of a tag');

const sentinel = () =>
  z.union([z.number(), z.bigint(), z.literal('nan')], {
    error: ({ input }: Said) => `${shown(input)} is not a raw value; write a number, or nan`,
  });

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
      .check(
        about(
          'Bit number to name; the value is the names of the set bits, joined by commas. Written by names, bits without one stay as they are.',
        ),
      ),
  ),
  invalid: z.optional(
    z
      .union([z.literal('auto'), z.array(sentinel())], {
        error: ({ input }: Said) =>
          `${shown(input)} is not a list of raw values; write [${shown(input)}] or auto`,
      })
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
          max_per_second: z.optional(number().check(moreThan0())),
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
          'What is believed; a value outside is published as uncertain. `scan` does not take a device for one of this map whose values lie outside.',
        ),
      ),
  ),
  counter: z.optional(
    z
      .union([
        truth(),
        z.strictObject({ modulo: largeNumber('the number of values of the counter').check(moreThan0()) }),
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

export const tagMap = () => z.record(name('a tag name'), tagOrFalse());

export type TagInput = z.output<typeof tagSchema>;
