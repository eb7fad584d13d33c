/** The broker: listeners, users, access rules, limits, store. */
import * as z from 'zod/mini';
import { about, duration, limit, size, text, truth, whole } from './words.js';

export const tlsSchema = z.strictObject({
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

const brokerLimitsSchema = z.strictObject({
  max_connections: limit('Connections at once.', 10_000),
  max_connections_per_address: limit('Connections at once from one address.'),
  connect_timeout: z.optional(duration().check(about('How long a CONNECT may take to come.', '10s'))),
  max_packet_size: z.optional(
    size().check(
      about(
        'The largest packet from a client. A WebSocket message may hold 1 MiB, or two of these where that is more.',
        '256KiB',
      ),
    ),
  ),
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

export const brokerSchema = z.strictObject({
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

export type BrokerInput = z.output<typeof brokerSchema>;
