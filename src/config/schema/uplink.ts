/** Brokers elsewhere: what goes there, what comes from there, and the queue between. */
import * as z from 'zod/mini';
import { type Said, about, duration, limit, shown, size, slugText, text, truth, whole } from './words.js';

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

export const uplinkSchema = z.strictObject({
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
  status_topic: z.optional(
    text().check(
      about(
        "Topic there that says `online`, and `offline` as the will; where a rule takes the gateway's own status unless given.",
      ),
    ),
  ),
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

export type UplinkInput = z.output<typeof uplinkSchema>;
