import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet';
import {
  PUBACK,
  type Publication,
  PublishWriter,
  PUBREL,
  writeAcknowledgement,
} from '../../src/broker/codec.js';
import { IN, PROPERTY, PropertyWalk, readVarint, withoutHopProperties } from '../../src/broker/properties.js';

const encoder = new TextEncoder();

function parse(bytes: Uint8Array, protocolVersion: number): Packet {
  let found: Packet | undefined;
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on('packet', (packet) => (found = packet));
  parser.on('error', (error) => assert.fail(String(error)));
  assert.equal(parser.parse(Buffer.from(bytes)), 0);
  return found ?? assert.fail('no packet');
}

function publicationOf(topic: string, payload: Uint8Array, properties: Uint8Array): Publication {
  // The parts lie somewhere inside larger buffers, as in the read buffer.
  const padded = (bytes: Uint8Array): Uint8Array => Uint8Array.from([9, 9, ...bytes, 9]);
  const topicBytes = encoder.encode(topic);
  return {
    topic: padded(topicBytes),
    topicStart: 2,
    topicEnd: 2 + topicBytes.length,
    properties: padded(properties),
    propertiesStart: 2,
    propertiesEnd: 2 + properties.length,
    payload: padded(payload),
    payloadStart: 2,
    payloadEnd: 2 + payload.length,
  };
}

const text = fc.string({ minLength: 1, maxLength: 60 }).filter((one) => !/[+#\0]/.test(one));

describe('PUBLISH', () => {
  test('is written as mqtt-packet reads it', () => {
    const settings = fc.record({
      version: fc.constantFrom(4 as const, 5 as const),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      retain: fc.boolean(),
      isDuplicate: fc.boolean(),
      id: fc.integer({ min: 1, max: 65535 }),
      expiryS: fc.integer({ min: -1, max: 0xffffffff }),
      identifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
      alias: fc.nat(300),
    });
    fc.assert(
      fc.property(text, fc.uint8Array({ maxLength: 400 }), settings, (topic, payload, set) => {
        const writer = new PublishWriter();
        writer.reset(set.version, set.qos, set.retain);
        writer.isDuplicate = set.isDuplicate && set.qos > 0;
        writer.packetIdentifier = set.id;
        writer.expiryS = set.version === 5 ? set.expiryS : -1;
        writer.identifiers = set.identifiers;
        writer.alias = set.alias;
        const publication = publicationOf(topic, payload, new Uint8Array(0));
        const length = writer.length(publication);
        const bytes = new Uint8Array(length + 5);
        assert.equal(writer.write(bytes, 5, publication), length + 5);
        const packet = parse(bytes.subarray(5), set.version) as IPublishPacket;
        assert.equal(packet.topic, topic);
        assert.deepEqual(Uint8Array.from(packet.payload as Buffer), payload);
        assert.deepEqual([packet.qos, packet.retain, packet.dup], [set.qos, set.retain, writer.isDuplicate]);
        if (set.qos > 0) assert.equal(packet.messageId, set.id);
        if (set.version === 5) {
          assert.equal(packet.properties?.messageExpiryInterval ?? -1, set.expiryS);
          assert.equal(packet.properties?.topicAlias ?? 0, set.alias);
          assert.deepEqual([packet.properties?.subscriptionIdentifier ?? []].flat(), set.identifiers);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('properties are walked, stripped of what concerns one hop, and otherwise keep bytes and order', () => {
    const properties = fc.record(
      {
        payloadFormatIndicator: fc.boolean(),
        messageExpiryInterval: fc.nat(0xffffffff),
        topicAlias: fc.integer({ min: 1, max: 65535 }),
        responseTopic: text,
        correlationData: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
        contentType: text,
        userProperties: fc.dictionary(
          fc.constantFrom('a', 'b', '1'),
          fc.array(text, { minLength: 1, maxLength: 3 }),
          { minKeys: 1 },
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(properties, text, (set, topic) => {
        const frame = mqttPacket.generate(
          {
            cmd: 'publish',
            topic,
            payload: 'x',
            qos: 0,
            dup: false,
            retain: false,
            properties: set as never,
          },
          { protocolVersion: 5 },
        );
        const start = 1 + (readVarint(frame, 1, frame.length).next - 1) + 2 + encoder.encode(topic).length;
        const walk = new PropertyWalk();
        assert.equal(walk.walk(frame, start, frame.length, IN.publish), 0);
        assert.equal(walk.next, frame.length - 1);
        assert.equal(walk.numberOf(PROPERTY.messageExpiry, -1), set.messageExpiryInterval ?? -1);
        assert.equal(walk.numberOf(PROPERTY.topicAlias, -1), set.topicAlias ?? -1);
        const left = withoutHopProperties(frame, walk.start, walk.next);
        const { messageExpiryInterval: _expiry, topicAlias: _alias, ...rest } = set;
        const expected = mqttPacket.generate(
          {
            cmd: 'publish',
            topic,
            payload: 'x',
            qos: 0,
            dup: false,
            retain: false,
            properties: rest as never,
          },
          { protocolVersion: 5 },
        );
        const from = readVarint(expected, 1, expected.length).next + 2 + encoder.encode(topic).length;
        assert.deepEqual(
          Buffer.from(left),
          expected.subarray(readVarint(expected, from, expected.length).next, -1),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('no bytes make the walk throw, read behind the end, or accept a block that is too long', () => {
    const walk = new PropertyWalk();
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(...Object.values(IN)),
        (bytes, packet) => {
          const padded = Uint8Array.from([...bytes, 0x26, 0, 1, 65, 0, 1, 66, 1, 1]);
          if (walk.walk(padded, 0, bytes.length, packet) === 0) assert.ok(walk.next <= bytes.length);
        },
      ),
      { numRuns: 5000 },
    );
  });
});

describe('property rules', () => {
  const walk = new PropertyWalk();
  const block = (...bytes: number[]): Uint8Array => Uint8Array.from([bytes.length, ...bytes]);
  const check = (packet: number, ...bytes: number[]): number => {
    const all = block(...bytes);
    return walk.walk(all, 0, all.length, packet);
  };

  test('a property may be there once, user properties any number of times', () => {
    assert.equal(check(IN.publish, 1, 0, 1, 0), 0x82);
    assert.equal(check(IN.publish, 0x23, 0, 1, 0x23, 0, 2), 0x82);
    assert.equal(check(IN.publish, 0x26, 0, 1, 65, 0, 0, 0x26, 0, 1, 65, 0, 0), 0);
    assert.equal(check(IN.publish, 0x0b, 1, 0x0b, 2), 0);
    assert.equal(check(IN.subscribe, 0x0b, 1, 0x0b, 2), 0x82);
  });

  test('values are in their range, properties in their packets', () => {
    assert.equal(check(IN.publish, 1, 2), 0x82);
    assert.equal(check(IN.connect, 0x21, 0, 0), 0x82);
    assert.equal(check(IN.connect, 0x27, 0, 0, 0, 0), 0x82);
    assert.equal(check(IN.subscribe, 0x0b, 0), 0x82);
    assert.equal(check(IN.connect, 0x17, 2), 0x82);
    assert.equal(check(IN.publish, 0x11, 0, 0, 0, 1), 0x81);
    assert.equal(check(IN.connect, 0x18, 0, 0, 0, 1), 0x81);
    assert.equal(check(IN.publish, 0x7f), 0x81);
    assert.equal(check(IN.publish, 0x08, 0, 3, 97, 47, 43), 0x82);
    assert.equal(check(IN.publish, 0x03, 0, 1, 0), 0x81);
    assert.equal(check(IN.publish, 0x02, 0, 0), 0x81);
    assert.equal(check(IN.subscribe, 0x0b, 0x81, 0x00), 0x81);
  });
});

describe('acknowledgements', () => {
  test('leave out what can be left out', () => {
    const write = (first: number, version: 4 | 5, reason: number): number[] => {
      const bytes = new Uint8Array(5);
      return [...bytes.subarray(0, writeAcknowledgement(bytes, 0, first, 0x1234, version, reason))];
    };
    assert.deepEqual(write(PUBACK, 4, 0x87), [0x40, 2, 0x12, 0x34]);
    assert.deepEqual(write(PUBACK, 5, 0), [0x40, 2, 0x12, 0x34]);
    assert.deepEqual(write(PUBREL, 5, 0x92), [0x62, 3, 0x12, 0x34, 0x92]);
  });
});
