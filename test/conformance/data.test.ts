/** Chapters 1 and 2: text, variable byte integers, fixed header, packet identifiers. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, type Text } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const ILL_FORMED = ['ff', 'fe61', '80', 'c080', 'c1bf', 'e08080', 'eda080', 'edbfbf', 'f0808080', 'f4908080', 'f888808080', 'e282'].map((hex) => Buffer.from(hex, 'hex')); // prettier-ignore

/** Every text of a client's packets, as packets with that text in it. The first three are CONNECTs. */
function* textsIn(scene: Scene, text: Text): Generator<readonly [where: string, bytes: Buffer]> {
  const { version } = scene;
  const topic = scene.topic();
  const clientId = scene.clientId();
  yield ['client identifier', wire.connect({ version, clientId: text })];
  yield ['will topic', wire.connect({ version, clientId, will: { topic: text } })];
  yield ['user name', wire.connect({ version, clientId, username: text })];
  yield ['topic name', wire.publish(version, { topic: text })];
  yield ['filter', wire.subscribe(version, 1, [[text, 0]])];
  yield ['filter to unsubscribe', wire.unsubscribe(version, 1, [text])];
  if (version === 4) return;
  const properties: readonly wire.Property[] = [
    [PROPERTY.contentType, text],
    [PROPERTY.responseTopic, text],
    [PROPERTY.user, [text, 'value']],
    [PROPERTY.user, ['name', text]],
  ];
  for (const property of properties)
    yield [`property ${property[0]}`, wire.publish(version, { topic, properties: [property] })];
  yield ['reason string', wire.disconnect(version, 4, [[PROPERTY.reasonString, text]])];
  yield ['user property of SUBSCRIBE', wire.subscribe(version, 1, [[topic, 0]], [[PROPERTY.user, [text, text]]])]; // prettier-ignore
}

async function refusesText(scene: Scene, text: Text): Promise<void> {
  const places = [...textsIn(scene, text)];
  for (const [index, [where, bytes]] of places.entries()) {
    try {
      if (index < 3) await scene.refusesFirst(bytes, 0x81, 0x85, 0x90);
      else await scene.refuses(bytes, 0x81, 0x8f, 0x90);
    } catch (fault) {
      throw new Error(`${where} ${Buffer.from(text).toString('hex')}`, { cause: fault });
    }
  }
}

describe('data and headers', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '1.5.3-1 3.1.3-4 3.1.3-10 3.1.3-11 3.3.2-1 3.8.3-1 3.10.3-1', v5: '1.5.4-1 1.5.7-1 3.1.3-4 3.1.3-11 3.1.3-12 3.3.2-1 3.3.2-13 3.3.2-19 3.8.3-1 3.10.3-1' }, // prettier-ignore
    'ill-formed UTF-8 in any text ends the connection',
    async (scene) => {
      for (const text of ILL_FORMED) await refusesText(scene, Buffer.concat([Buffer.from(scene.root), text]));
    },
  );

  conforms(
    { v3: '1.5.3-2 4.7.3-2', v5: '1.5.4-2 1.5.7-1 4.7.3-2' },
    'U+0000 in any text ends the connection',
    async (scene) => {
      for (const text of ['\0', 'a\0', '\0a', 'a/\0/b']) await refusesText(scene, text);
    },
  );

  conforms(
    { v3: '1.5.3-3', v5: '1.5.4-3' },
    'U+FEFF stays where it is and makes another topic',
    async (scene) => {
      const marked = `\uFEFF${scene.topic()}\uFEFF`;
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic());
      await subscriber.subscribe(marked);
      const publisher = await scene.connect();
      await publisher.publish(marked, 'marked');
      await publisher.publish(scene.topic(), 'plain');
      assert.equal((await subscriber.receive()).topic, marked);
      assert.equal((await subscriber.receive()).topic, scene.topic());
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '1.5.3-1 4.7.3-4', v5: '1.5.4-1 4.7.3-4' },
    'text at the edges of what is well-formed is served and comes back unchanged',
    async (scene) => {
      const topic = scene.topic('é/ÿ/\u0800/\ud7ff/\ue000/\ufffd/\u{10000}/\u{10fffd}');
      const client = await scene.connect({ clientId: scene.clientId('\u{1f600}é') });
      await client.subscribe(topic);
      await client.publish(topic, 'x');
      assert.equal((await client.receive()).topic, topic);
    },
  );

  conforms(
    { v5: '1.5.5-1' },
    'a variable byte integer longer than it need be is malformed',
    async (scene) => {
      const topic = wire.field(scene.topic());
      await scene.refuses(wire.frame(0x30, topic, Buffer.from('8000', 'hex'), Buffer.from('x')), 0x81);
      await scene.refuses(wire.frame(0x82, wire.u16(1), Buffer.from('030b8100', 'hex'), topic, wire.u8(0)), 0x81); // prettier-ignore
      await scene.refuses(wire.frame(0x30, topic, Buffer.from('81800000', 'hex'), Buffer.from('x')), 0x81);
      await scene.refuses(wire.frame(0x30, topic, Buffer.from('ffffffff7f', 'hex')), 0x81);
      await scene.refuses(Buffer.from('c08000', 'hex'), 0x81);
      // In CONNECT itself, too, where the version is not known yet when the length is read.
      for (const more of ['00', '8000']) {
        const connect = wire.connect({ version: 5, clientId: scene.clientId() });
        const length = Buffer.from([(connect[1] ?? 0) | 0x80, ...Buffer.from(more, 'hex')]);
        await scene.refusesFirst(Buffer.concat([connect.subarray(0, 1), length, connect.subarray(2)]), 0x81);
      }
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '4.13.1-1' },
    'a remaining length of five bytes ends the connection',
    async (scene) => {
      await scene.refuses(Buffer.from('30ffffffff7f', 'hex'), 0x81, 0x95);
      await scene.refuses(Buffer.from('308080808001', 'hex'), 0x81);
      await scene.refusesFirst(Buffer.from('10ffffffff7f', 'hex'), 0x81);
    },
  );

  conforms(
    { v3: '2.2.2-1 2.2.2-2 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1', v5: '2.1.3-1 3.6.1-1 3.8.1-1 3.10.1-1 3.14.1-1 3.15.1-1 4.13.1-1' }, // prettier-ignore
    'wrong flags in the fixed header end the connection, whatever the packet',
    async (scene) => {
      const { version } = scene;
      const packets: Buffer[] = [
        wire.acknowledge('PUBACK', 1),
        wire.acknowledge('PUBREC', 1),
        wire.acknowledge('PUBREL', 1),
        wire.acknowledge('PUBCOMP', 1),
        wire.subscribe(version, 1, [[scene.topic(), 0]]),
        wire.unsubscribe(version, 1, [scene.topic()]),
        wire.PINGREQ,
        wire.disconnect(version),
      ];
      if (version === 5) packets.push(wire.auth(0x19, [[PROPERTY.authenticationMethod, 'x']]));
      for (const packet of packets) {
        for (let flags = 0; flags < 16; flags++) {
          const first = packet[0] ?? 0;
          if (flags !== (first & 15)) await scene.refuses(Buffer.concat([wire.u8((first & 0xf0) | flags), packet.subarray(1)]), 0x81); // prettier-ignore
        }
      }
      const connect = wire.connect({ version, clientId: scene.clientId() });
      for (let flags = 1; flags < 16; flags++)
        await scene.refusesFirst(Buffer.concat([wire.u8(0x10 | flags), connect.subarray(1)]), 0x81);
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '4.13.1-1' },
    'packets that only a server sends, and the reserved type, end the connection',
    async (scene) => {
      const codes = [0x81, 0x82];
      for (const hex of [
        '20020000',
        '2003000000',
        '9003000100',
        '900400010000',
        'b0020001',
        'b00400010000',
        'd000',
        '0000',
        '000101',
      ])
        // prettier-ignore
        await scene.refuses(Buffer.from(hex, 'hex'), ...codes);
      if (scene.version === 4) await scene.refuses(Buffer.from('f000', 'hex'));
    },
  );

  conforms({ v3: '2.3.1-1', v5: '2.2.1-3' }, 'packet identifier 0 ends the connection', async (scene) => {
    const { version } = scene;
    const topic = scene.topic();
    await scene.refuses(wire.publish(version, { topic, qos: 1, id: 0 }), 0x81, 0x82);
    await scene.refuses(wire.publish(version, { topic, qos: 2, id: 0 }), 0x81, 0x82);
    await scene.refuses(wire.subscribe(version, 0, [[topic, 0]]), 0x81, 0x82);
    await scene.refuses(wire.unsubscribe(version, 0, [topic]), 0x81, 0x82);
    for (const type of ['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'] as const)
      await scene.refuses(wire.acknowledge(type, 0), 0x81, 0x82);
  });

  conforms(
    { v3: '2.3.1-4', v5: '2.2.1-4 4.3.2-1 4.3.3-1' },
    'messages in flight have identifiers of their own',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic('+'), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 20; index++)
        await publisher.publish(scene.topic(`${index}`), '', { qos: 1 + (index % 2) });
      const ids = new Set<number>();
      for (let index = 0; index < 20; index++) ids.add((await subscriber.next('PUBLISH')).id);
      assert.equal(ids.size, 20);
      assert.ok(!ids.has(0));
    },
  );

  conforms(
    { v3: '2.3.1-5', v5: '2.2.1-2' },
    'with QoS 0 the bytes behind the header are payload, in both directions',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic(), 2);
      for (const payload of [Buffer.from([0, 1]), Buffer.from([0, 0, 0, 9, 9])]) {
        await client.publish(scene.topic(), payload);
        const message = await client.next('PUBLISH');
        assert.equal(message.qos, 0);
        assert.deepEqual(message.payload, payload);
      }
    },
  );

  conforms(
    { v3: '2.3.1-6', v5: '2.2.1-5' },
    'acknowledgements carry the identifier of their PUBLISH',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      for (const id of [1, 255, 256, 0x7fff, 65_535]) {
        assert.equal((await publisher.publish(scene.topic(), '', { qos: 1, id })).id, id);
        assert.equal((await publisher.publish(scene.topic(), '', { qos: 2, id })).id, id);
        await subscriber.receive();
        await subscriber.receive();
      }
    },
  );

  conforms(
    { v3: '2.3.1-7 3.8.4-1 3.8.4-2 3.10.4-4', v5: '2.2.1-6 3.8.4-1 3.8.4-2 3.10.4-4 3.10.4-5' },
    'SUBACK and UNSUBACK carry the identifier of their request',
    async (scene) => {
      const client = await scene.connect();
      for (const id of [1, 256, 65_535]) {
        client.send(wire.subscribe(scene.version, id, [[scene.topic(), 1]]));
        assert.equal((await client.next('SUBACK')).id, id);
        client.send(wire.unsubscribe(scene.version, id, [scene.topic()]));
        assert.equal((await client.next('UNSUBACK')).id, id);
      }
    },
  );

  conforms({ v5: '2.2.2-1' }, 'a packet without its property length is malformed', async (scene) => {
    await scene.refuses(wire.frame(0x30, wire.field(scene.topic())), 0x81);
    await scene.refuses(wire.frame(0x32, wire.field(scene.topic()), wire.u16(1)), 0x81);
    await scene.refuses(wire.frame(0x82, wire.u16(1)), 0x81, 0x82);
    await scene.refuses(wire.frame(0xa2, wire.u16(1)), 0x81, 0x82);
    const client = await scene.connect();
    client.send(wire.frame(0x40, wire.u16(9), wire.u8(0)), wire.frame(0x40, wire.u16(9), wire.u8(0, 0)));
    await client.quiet();
  });

  conforms(
    { v3: '3.12.4-1', v5: '4.2-1 3.12.4-1' },
    'packets are understood however the stream is cut',
    async (scene) => {
      const { version } = scene;
      const topic = scene.topic();
      const stream = Buffer.concat([
        wire.connect({ version, clientId: scene.clientId(), username: 'u', will: { topic, payload: 'w' } }),
        wire.subscribe(version, 1, [[topic, 2]]),
        wire.publish(version, { topic, payload: 'x'.repeat(200), qos: 2, id: 7 }),
        wire.acknowledge('PUBREL', 7),
        wire.PINGREQ,
      ]);
      const whole = await scene.open();
      whole.send(stream);
      const single = await scene.open();
      await single.sendByteByByte(stream);
      for (const client of [whole, single]) {
        await client.next('CONNACK');
        const types = ['SUBACK', 'PUBREC', 'PUBLISH', 'PUBCOMP', 'PINGRESP'];
        for (const _ of types) {
          const packet = await client.any();
          assert.ok(packet !== undefined && types.includes(packet.type), packet?.type);
        }
      }
      for (let cut = 1; cut < stream.length; cut += 13) {
        const halves = await scene.open();
        halves.socket.write(stream.subarray(0, cut));
        await new Promise((resolve) => setImmediate(resolve));
        halves.socket.write(stream.subarray(cut));
        await halves.next('CONNACK');
        await halves.ping();
        halves.socket.destroy();
      }
    },
  );
});
