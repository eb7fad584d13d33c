/**
 * Mutated packets in random pieces against connections of a whole broker, with a healthy pair beside them. Seeded: the
 * same bytes every time. HOLDFAST_FUZZ_PACKETS makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { Admission } from '../../src/broker/connect.js';
import { Connection, type ConnectionHost } from '../../src/broker/connection.js';
import { Core } from '../../src/broker/core.js';
import { brokerCounters } from '../../src/broker/counters.js';
import { Wheel } from '../../src/broker/keepalive.js';
import { DEFAULT_LIMITS } from '../../src/broker/limits.js';
import type { Transport } from '../../src/broker/outbox.js';
import { Publishing } from '../../src/broker/publish.js';
import { Users } from '../../src/broker/users.js';
import type { Log } from '../../src/log.js';
import { steadyClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryStore } from '../../src/store/memory.js';
import { ManualClock } from '../support/clock.js';

const COUNT = Number(process.env['HOLDFAST_FUZZ_PACKETS'] ?? 30_000);

/** A small generator with a long period, so that a failure can be repeated by its seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function packetsOf(version: 4 | 5): Buffer[] {
  const properties = version === 5 ? { properties: { userProperties: { a: ['1', '2'] } } } : {};
  const will = { topic: 'will/x', payload: Buffer.from('gone'), qos: 1, retain: true };
  const all = [
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: version, clientId: 'fuzz', clean: true, keepalive: 10, will, username: 'u', password: Buffer.from('p') },
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: version, clientId: 'fuzz-kept', clean: false, keepalive: 0, ...(version === 5 ? { properties: { sessionExpiryInterval: 50, receiveMaximum: 3, topicAliasMaximum: 5, maximumPacketSize: 200 } } : {}) },
    { cmd: 'publish', topic: 'f/a', payload: 'x'.repeat(40), qos: 0, dup: false, retain: false, ...properties },
    { cmd: 'publish', topic: 'f/b', payload: 'y', qos: 1, messageId: 5, dup: false, retain: true, ...properties },
    { cmd: 'publish', topic: 'f/c', payload: 'z'.repeat(300), qos: 2, messageId: 6, dup: false, retain: false, ...(version === 5 ? { properties: { topicAlias: 3, messageExpiryInterval: 1, contentType: 't' } } : {}) },
    { cmd: 'subscribe', messageId: 7, subscriptions: [{ topic: 'f/#', qos: 2 }, { topic: '$share/g/+/b', qos: 1 }, { topic: '+/+', qos: 0 }], ...(version === 5 ? { properties: { subscriptionIdentifier: 9 } } : {}) },
    { cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['f/#', 'none'] },
    { cmd: 'puback', messageId: 1, reasonCode: 0 },
    { cmd: 'pubrec', messageId: 2, reasonCode: 0 },
    { cmd: 'pubrel', messageId: 6, reasonCode: 0 },
    { cmd: 'pubcomp', messageId: 2, reasonCode: 0 },
    { cmd: 'pingreq' },
    { cmd: 'disconnect', ...(version === 5 ? { reasonCode: 4 } : {}) },
    ...(version === 5 ? [{ cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'm' } }] : []),
  ]; // prettier-ignore
  // Written out as objects of the generator's many types.
  return all.map((packet) => mqttPacket.generate(packet as unknown as Packet, { protocolVersion: version }));
}

test(`${COUNT} mutated packets harm nobody`, async () => {
  const faults: string[] = [];
  const log: Log = {
    ...silentLog,
    error: (message, fields) => void faults.push(`${message} ${JSON.stringify(fields)}`),
  };
  const clock = new ManualClock();
  const core = new Core({ clock: steadyClock(clock), log, store: new MemoryStore(), counters: brokerCounters(new Metrics()), limits: DEFAULT_LIMITS, neverRetained: [], onOverflow: () => {} }); // prettier-ignore
  core.restore({ sessions: [], retained: [], nextPosition: 1, nextSession: 1, clock: null });
  const host: ConnectionHost = { core, publishing: new Publishing(core), admission: new Admission(core, new Users(clock), [], () => true), wheel: new Wheel(clock), undecided: () => {}, closed: () => {}, gone: () => {} }; // prettier-ignore
  const peer = { host: '127.0.0.1', address: 'test', ends: '', certificateName: null, policy: { isAnonymousAllowed: () => true }, listener: 'test' }; // prettier-ignore
  const join = (seen: (bytes: Uint8Array) => void): { connection: Connection; isEnded: () => boolean } => {
    let isEnded = false;
    const transport: Transport = {
      pendingBytes: 0,
      write: (bytes) => (seen(bytes), true),
      pause: () => {},
      resume: () => {},
      end: () => void (isEnded = true),
      destroy: () => {},
    };
    return { connection: new Connection(host, transport, peer), isEnded: () => isEnded };
  };
  const send = (connection: Connection, packet: object, version: 4 | 5): void => {
    const bytes = mqttPacket.generate(packet as unknown as Packet, { protocolVersion: version });
    connection.receive(bytes, 0, bytes.length);
  };
  const settle = async (): Promise<void> => {
    core.turns.flush();
    await new Promise((resolve) => setImmediate(resolve));
    core.turns.flush();
  };

  const got: number[] = [];
  const parser = mqttPacket.parser({ protocolVersion: 5 });
  parser.on('packet', (packet) => packet.cmd === 'publish' && got.push(Number(packet.payload.toString())));
  const reader = join((bytes) => parser.parse(Buffer.from(bytes)));
  send(
    reader.connection,
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'reader', clean: true, keepalive: 0 },
    5,
  );
  send(
    reader.connection,
    { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'healthy', qos: 0 }] },
    5,
  );
  const writer = join(() => {});
  send(
    writer.connection,
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'writer', clean: true, keepalive: 0 },
    4,
  );
  await settle();

  const random = randomOf(42);
  const kinds = [packetsOf(4), packetsOf(5)];
  let victim = join(() => {});
  let sent = 0;
  let kind = kinds[0] ?? [];
  for (let i = 0; i < COUNT; i++) {
    if (victim.isEnded() || random(50) === 0) {
      victim.connection.lost();
      victim = join(() => {});
      kind = kinds[random(2)] ?? kind;
      const first = kind[random(2)] ?? Buffer.alloc(0);
      victim.connection.receive(first, 0, first.length);
    }
    const bytes = Buffer.from(kind[random(kind.length)] ?? []);
    for (let changes = random(4); changes > 0; changes--) bytes[random(bytes.length)] = random(256);
    const whole =
      random(10) === 0
        ? bytes.subarray(0, random(bytes.length))
        : random(10) === 0
          ? Buffer.concat([bytes, bytes])
          : bytes;
    for (let at = 0; at < whole.length;) {
      const next = Math.min(whole.length, at + 1 + random(whole.length));
      victim.connection.receive(whole, at, next);
      at = next;
    }
    if (i % 100 === 0) {
      send(
        writer.connection,
        { cmd: 'publish', topic: 'healthy', payload: String(sent++), qos: 0, dup: false, retain: false },
        4,
      );
      await settle();
      clock.advance(100);
    }
  }
  await settle();
  assert.deepEqual(faults, []);
  assert.ok(!reader.isEnded() && !writer.isEnded());
  assert.deepEqual(got, Array.from({ length: sent }, (_, i) => i)); // prettier-ignore
  core.stop();
});
