/** Keys that make sense from `defaults` down to a tag: how often it is read, when and how it is published, byte order. */
import * as z from 'zod/mini';
import { ORDER_NAMES } from '../../modbus/values.js';
import { type Said, about, duration, number, shown, text, truth } from './words.js';

type OrderName = keyof typeof ORDER_NAMES;
const order = () => z.enum(Object.keys(ORDER_NAMES) as OrderName[]); // the keys of that very table

const numbering = () => z.enum(['pdu', 'one-based', 'modicon']);
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
export const levelShape = {
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

export const levelSchema = z.strictObject(levelShape);
export type LevelInput = z.output<typeof levelSchema>;
