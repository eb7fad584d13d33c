/** `write:` of a tag: what commands may write, and what has to be done around it. */
import * as z from 'zod/mini';
import {
  type Said,
  about,
  address,
  duration,
  largeNumber,
  moreThan0,
  number,
  shown,
  truth,
  whole,
} from './words.js';

export const word = () => whole(0, 65_535, 'the raw value of a register: a whole number');
export const writeStepSchema = z.strictObject({
  coil: z.optional(address().check(about('The coil that is written.'))),
  holding: z.optional(address().check(about('The first register that is written.'))),
  value: z.union([word(), truth(), z.array(word()).check(z.minLength(1), z.maxLength(123))], {
    error: ({ input }: Said) => `${shown(input)} is not a raw value; write 0x5AA5, true, or a list of registers`,
  }).check(about('Raw: a register, a list of registers, or true and false for a coil.')),
}); // prettier-ignore
const commandValue = () => z.union([number('a value'), z.bigint(), z.boolean(), z.string()]);

export const writeMapShape = {
  coil: z.optional(address().check(about('Written here instead of where it is read.'))),
  holding: z.optional(address().check(about('Written here instead of where it is read.'))),
  min: z.optional(largeNumber().check(about('The least value accepted, in units of the value.'))),
  max: z.optional(largeNumber().check(about('The greatest value accepted.'))),
  step: z.optional(number().check(moreThan0(), about('Values are `min` plus a multiple of this.'))),
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
