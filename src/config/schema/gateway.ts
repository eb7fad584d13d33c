/** The gateway file as a whole. */
import * as z from 'zod/mini';
import { brokerSchema, tlsSchema } from './broker.js';
import { busSchema } from './bus.js';
import { deviceSchema } from './device.js';
import { levelSchema } from './level.js';
import { redundancySchema } from './redundancy.js';
import { uplinkSchema } from './uplink.js';
import { type Said, about, duration, name, shown, slugText, text, whole } from './words.js';

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

export const gatewaySchema = z.strictObject({
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
  defaults: z.optional(levelSchema.check(about('What holds for every tag that does not say otherwise.'))),
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
