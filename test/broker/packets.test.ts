import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import mqttPacket from 'mqtt-packet';
import {
  type ConnectRequest,
  decodeAcknowledgement,
  decodeConnect,
  decodeDisconnect,
  decodeSubscribe,
  decodeUnsubscribe,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  type Refusal,
} from '../../src/broker/packets.js';
import { readVarint } from '../../src/broker/properties.js';

function bodyOf(frame: Uint8Array): number {
  return readVarint(frame, 1, frame.length).next;
}

function connect(frame: Uint8Array): ConnectRequest | Refusal {
  return decodeConnect(frame, 0, bodyOf(frame), frame.length);
}

const name = fc.string({ minLength: 1, maxLength: 20 }).filter((one) => !one.includes('\0'));
const topic = name.filter((one) => !/[+#]/.test(one));

/** CONNECT by hand: variable header and payload after the fixed header. */
function raw(...parts: (number | string | number[])[]): Uint8Array {
  const bytes = parts.flatMap((part) => {
    if (typeof part === 'number') return [part];
    if (Array.isArray(part)) return part;
    const text = [...Buffer.from(part)];
    return [text.length >> 8, text.length & 255, ...text];
  });
  return Uint8Array.from([0x10, bytes.length, ...bytes]);
}

describe('CONNECT', () => {
  test('is read as mqtt-packet writes it', () => {
    const request = fc.record({
      protocolVersion: fc.constantFrom(4 as const, 5 as const),
      clientId: name,
      clean: fc.boolean(),
      keepalive: fc.nat(65535),
      username: fc.option(name, { nil: undefined }),
      password: fc.uint8Array({ maxLength: 20 }),
      will: fc.option(fc.record({ topic, payload: fc.uint8Array({ maxLength: 50 }), qos: fc.constantFrom(0 as const, 1 as const, 2 as const), retain: fc.boolean() }), { nil: undefined }),
      expiry: fc.option(fc.nat(0xffffffff), { nil: undefined }),
    }); // prettier-ignore
    fc.assert(
      fc.property(request, (one) => {
        const frame = mqttPacket.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: one.protocolVersion,
          clientId: one.clientId,
          clean: one.clean,
          keepalive: one.keepalive,
          ...(one.username === undefined ? {} : { username: one.username, password: Buffer.from(one.password) }),
          ...(one.will === undefined ? {} : { will: { ...one.will, payload: Buffer.from(one.will.payload) } }),
          ...(one.protocolVersion === 5 && one.expiry !== undefined ? { properties: { sessionExpiryInterval: one.expiry } } : {}),
        } as never); // prettier-ignore
        const read = connect(frame);
        assert.ok(!('text' in read), JSON.stringify(read));
        assert.deepEqual(
          [read.version, read.clientId, read.cleanStart, read.keepAliveS, read.username],
          [one.protocolVersion, one.clientId, one.clean, one.keepalive, one.username ?? null],
        );
        if (one.username !== undefined) assert.deepEqual(read.password, one.password);
        assert.equal(read.sessionExpiryS, one.protocolVersion === 5 ? (one.expiry ?? 0) : 0);
        assert.equal(read.will === null, one.will === undefined);
        if (one.will !== undefined && read.will !== null) {
          assert.deepEqual(
            [
              Buffer.from(read.will.topic).toString(),
              read.will.qos,
              read.will.retain,
              [...read.will.payload],
            ],
            [one.will.topic, one.will.qos, one.will.retain, [...one.will.payload]],
          );
        }
      }),
      { numRuns: 300 },
    );
  });

  test('keeps the user properties of the will in their order, duplicates too [MQTT-3.1.3-10]', () => {
    const pair = (key: string, value: string): number[] => [0x26, 0, key.length, ...Buffer.from(key), 0, value.length, ...Buffer.from(value)]; // prettier-ignore
    const properties = [...pair('b', '1'), ...pair('1', 'x'), ...pair('b', '2'), ...pair('a', '')];
    const frame = raw(
      'MQTT',
      5,
      6,
      0,
      10,
      0,
      'c',
      [properties.length + 5, 0x18, 0, 0, 0, 9, ...properties],
      'w',
      'x',
    );
    const read = connect(frame);
    assert.ok(!('text' in read) && read.will !== null);
    assert.deepEqual([...read.will.properties], properties);
    assert.equal(read.will.delayS, 9);
  });

  test('what is not right is refused, with a CONNACK only where one is due', () => {
    const cases: [string, Uint8Array, number, number][] = [
      ['reserved flag', raw('MQTT', 4, 3, 0, 10, 'c'), 0x81, 0],
      ['will QoS 3', raw('MQTT', 4, 0x1e, 0, 10, 'c', 'w', 'x'), 0x81, 0],
      ['will QoS without will', raw('MQTT', 4, 0x0a, 0, 10, 'c'), 0x81, 0],
      ['will retain without will', raw('MQTT', 4, 0x22, 0, 10, 'c'), 0x81, 0],
      ['password without user name', raw('MQTT', 4, 0x42, 0, 10, 'c', 'p'), 0x81, 0],
      ['trailing bytes', raw('MQTT', 4, 2, 0, 10, 'c', 0), 0x81, 0],
      ['too short', raw('MQTT', 4, 0x82, 0, 10, 'c'), 0x81, 0],
      ['other protocol', raw('MQTX', 4, 2, 0, 10, 'c'), 0x84, 0],
      ['level 3', raw('MQTT', 3, 2, 0, 10, 'c'), 0x84, 1],
      ['level 6', raw('MQTT', 6, 2, 0, 10, 'c'), 0x84, 1],
      ['bridge bit', raw('MQTT', 0x84, 2, 0, 10, 'c'), 0x84, 1],
      ['3.1', raw('MQIsdp', 3, 2, 0, 10, 'c'), 0x84, 1],
      ['3.1 name with level 4', raw('MQIsdp', 4, 2, 0, 10, 'c'), 0x84, 0],
      ['U+0000 in the client identifier', raw('MQTT', 4, 2, 0, 10, 'c\0'), 0x81, 0],
      ['ill-formed client identifier', raw('MQTT', 4, 2, 0, 10, [0, 1, 0xff]), 0x81, 0],
      ['wildcard in the will topic', raw('MQTT', 4, 6, 0, 10, 'c', 'w/+', 'x'), 0x81, 0],
      ['empty will topic', raw('MQTT', 4, 6, 0, 10, 'c', '', 'x'), 0x81, 0],
      ['receive maximum 0', raw('MQTT', 5, 2, 0, 10, [3, 0x21, 0, 0], 'c'), 0x82, 0],
      ['maximum packet size 0', raw('MQTT', 5, 2, 0, 10, [5, 0x27, 0, 0, 0, 0], 'c'), 0x82, 0],
      ['receive maximum twice', raw('MQTT', 5, 2, 0, 10, [6, 0x21, 0, 1, 0x21, 0, 1], 'c'), 0x82, 0],
      ['property of PUBLISH', raw('MQTT', 5, 2, 0, 10, [3, 0x23, 0, 1], 'c'), 0x81, 0],
      ['authentication data without method', raw('MQTT', 5, 2, 0, 10, [4, 0x16, 0, 1, 9], 'c'), 0x82, 0],
      ['properties longer than the packet', raw('MQTT', 5, 2, 0, 10, [90, 0x21, 0, 1], 'c'), 0x81, 0],
      [
        'will payload said to be text',
        raw('MQTT', 5, 6, 0, 10, 0, 'c', [2, 1, 1], 'w', [0, 1, 0xff]),
        0x99,
        0,
      ],
    ];
    for (const [what, frame, reason, returnCode] of cases) {
      const read = connect(frame);
      assert.ok('text' in read, what);
      assert.deepEqual([read.reason, read.returnCode], [reason, returnCode], what);
    }
  });

  test('no bytes make a decoder throw', () => {
    const decoders = [
      (bytes: Uint8Array) => decodeConnect(bytes, 0, 2, bytes.length),
      (bytes: Uint8Array) => decodeSubscribe(bytes, 2, bytes.length, 5),
      (bytes: Uint8Array) => decodeUnsubscribe(bytes, 2, bytes.length, 4),
      (bytes: Uint8Array) => decodeDisconnect(bytes, 2, bytes.length, 5),
      (bytes: Uint8Array) => decodeAcknowledgement(bytes, 4, 2, bytes.length, 5),
    ];
    const good = [...raw('MQTT', 5, 0xc6, 0, 10, [3, 0x21, 0, 1], 'c', 0, 'w', 'x', 'u', 'p')];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(60),
        (changes, length) => {
          const bytes = Uint8Array.from(good).subarray(0, Math.max(2, length));
          for (const [at, value] of changes) if (at > 1 && at < bytes.length) bytes[at] = value;
          for (const decode of decoders) decode(bytes);
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and acknowledgements', () => {
  const body = (...parts: (number | string | number[])[]): Uint8Array => raw(...parts).subarray(2);

  test('SUBSCRIBE names its filters and options, and refuses what is not right', () => {
    const read = (version: 4 | 5, ...parts: (number | string | number[])[]) => {
      const bytes = body(...parts);
      return decodeSubscribe(bytes, 0, bytes.length, version);
    };
    assert.deepEqual(read(5, 0, 7, [2, 0x0b, 9], 'a', 0x2d), { packetIdentifier: 7, identifier: 9, filters: [{ text: 'a', options: 0x2d }] }); // prettier-ignore
    assert.deepEqual(read(4, 0, 7, 'a', 1, 'b', 2), { packetIdentifier: 7, identifier: 0, filters: [{ text: 'a', options: 1 }, { text: 'b', options: 2 }] }); // prettier-ignore
    assert.equal(read(4, 0, 0, 'a', 1), 0x82);
    assert.equal(read(4, 0, 7), 0x82);
    assert.equal(read(4, 0, 7, 'a', 3), 0x81);
    assert.equal(read(4, 0, 7, 'a', 4), 0x81);
    assert.equal(read(5, 0, 7, 0, 'a', 0x40), 0x81);
    assert.equal(read(5, 0, 7, 0, 'a', 0x30), 0x82);
    assert.equal(read(5, 0, 7, [2, 0x0b, 0], 'a', 0), 0x82);
    assert.equal(read(4, 0, 7, 'a'), 0x81);
    assert.equal(read(4, 0, 7, 'a\0', 1), 0x81);
  });

  test('DISCONNECT may be empty; reasons and properties are checked', () => {
    const read = (version: 4 | 5, ...bytes: number[]) =>
      decodeDisconnect(Uint8Array.from(bytes), 0, bytes.length, version);
    assert.deepEqual(read(4), { reason: 0, sessionExpiryS: -1 });
    assert.equal(read(4, 0), 0x81);
    assert.deepEqual(read(5, 4), { reason: 4, sessionExpiryS: -1 });
    assert.deepEqual(read(5, 0, 5, 0x11, 0, 0, 1, 0), { reason: 0, sessionExpiryS: 256 });
    assert.equal(read(5, 0x8e), 0x82);
    assert.equal(read(5, 0, 4, 0x1c, 0, 1, 65), 0x82);
    assert.equal(read(5, 0, 0, 0), 0x81);
  });

  test('acknowledgements have an identifier, and in version 5 a reason of theirs', () => {
    const read = (type: number, version: 4 | 5, ...bytes: number[]) => ({
      ...decodeAcknowledgement(Uint8Array.from(bytes), type, 0, bytes.length, version),
    });
    assert.deepEqual(read(4, 4, 1, 2), { packetIdentifier: 258, reason: 0, refused: 0 });
    assert.equal(read(4, 4, 0, 0).refused, 0x82);
    assert.equal(read(4, 4, 1).refused, 0x81);
    assert.equal(read(4, 4, 1, 2, 0).refused, 0x81);
    assert.deepEqual(read(5, 5, 1, 2, 0x97, 0), { packetIdentifier: 258, reason: 0x97, refused: 0 });
    assert.equal(read(7, 5, 1, 2, 0x97).refused, 0x82);
    assert.equal(read(4, 5, 1, 2, 0, 3, 0x26, 0).refused, 0x81);
  });
});

describe('answers', () => {
  test('have the bytes that the specification shows', () => {
    assert.deepEqual([...encodeConnack(4, 0, true, {})], [0x20, 2, 1, 0]);
    assert.deepEqual([...encodeConnack(5, 0x87, false, {})], [0x20, 3, 0, 0x87, 0]);
    assert.deepEqual(
      [...encodeConnack(5, 0, false, { receiveMaximum: 100 })],
      [0x20, 6, 0, 0, 3, 0x21, 0, 100],
    );
    assert.deepEqual([...encodeSuback(4, 7, [0, 0x80])], [0x90, 4, 0, 7, 0, 0x80]);
    assert.deepEqual([...encodeSuback(5, 7, [2, 0x87])], [0x90, 5, 0, 7, 0, 2, 0x87]);
    assert.deepEqual([...encodeUnsuback(4, 7, [0])], [0xb0, 2, 0, 7]);
    assert.deepEqual([...encodeUnsuback(5, 7, [0x11])], [0xb0, 4, 0, 7, 0, 0x11]);
    assert.deepEqual([...encodeDisconnect(0x8e, '')], [0xe0, 2, 0x8e, 0]);
  });
});
