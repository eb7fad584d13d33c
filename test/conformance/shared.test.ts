/** Chapter 4.8: shared subscriptions. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertiesOf } from '../support/wire.js';
import type { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const kept: readonly wire.Property[] = [[PROPERTY.sessionExpiry, 60]];

function shared(scene: Scene, rest = 'a', group = 'group'): string {
  return `$share/${group}/${scene.topic(rest)}`;
}

/** Payloads of all messages that have come, each exchange completed. */
async function drain(client: MqttClient): Promise<string[]> {
  const texts: string[] = [];
  for (let packets = await client.arrived(); packets.length > 0; packets = await client.arrived()) {
    for (const { type, qos, id, payload } of packets) {
      assert.equal(type, 'PUBLISH');
      texts.push(payload.toString());
      if (qos === 1) client.send(wire.acknowledge('PUBACK', id));
    }
  }
  return texts;
}

/** Which of two members was given the message; the other has nothing. */
async function chosen(a: MqttClient, b: MqttClient) {
  await a.ping();
  await b.ping();
  const [first, second] = a.history.some(({ type }) => type === 'PUBLISH') ? [a, b] : [b, a];
  return { member: first, message: await first.next('PUBLISH'), other: second };
}

describe('shared subscriptions', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v5: '4.8.2-1 4.8.2-2' },
    'filters that are no shared subscriptions are refused',
    async (scene) => {
      for (const filter of [
        '$share//x',
        '$share/g',
        '$share/g/',
        '$share/',
        '$share',
        '$share/+/x',
        '$share/#/x',
        '$share/a+/x',
        '$share/a#/x',
        '$share/#',
        '$share/g/a#',
        '$share/g/+a',
      ]) {
        // prettier-ignore
        if (filter === '$share') continue;
        const client = await scene.connect();
        client.send(wire.subscribe(5, 1, [[filter, 0]]));
        const answer = await client.any();
        if (answer?.type === 'SUBACK') assert.ok((answer.codes[0] ?? 0) >= 0x80, filter);
        else if (answer?.type === 'DISCONNECT') assert.ok([0x81, 0x82, 0x8f].includes(answer.codes[0] ?? 0));
      }
      const client = await scene.connect();
      for (const filter of ['$share/g/#', '$share/g/+', '$share/g//', '$share/ö b/x', '$share/$share/x'])
        assert.deepEqual(await client.subscribe(filter, 1), [1], filter);
    },
  );

  conforms({ v5: '3.8.3-4' }, 'No Local on a shared subscription ends the connection', async (scene) => {
    await scene.refuses(wire.subscribe(5, 1, [[shared(scene), 5]]), 0x82);
    await scene.refuses(wire.subscribe(5, 1, [[scene.topic(), 5], [shared(scene), 4]]), 0x82); // prettier-ignore
  });

  conforms(
    { v5: '4.5.0-1 4.8.2-3' },
    'a share gets each message once, its members about equally, and other subscriptions as well',
    async (scene) => {
      const members: MqttClient[] = [];
      for (let index = 0; index < 3; index++) {
        const member = await scene.connect();
        await member.subscribe(shared(scene, '#'), 1);
        members.push(member);
      }
      const otherGroup = await scene.connect();
      await otherGroup.subscribe(shared(scene, '#', 'other'), 1);
      const plain = await scene.connect();
      await plain.subscribe(scene.topic('#'), 1);
      const publisher = await scene.connect();
      const all = Array.from({ length: 60 }, (_, index) => `${index}`);
      for (const text of all) await publisher.publish(scene.topic(`t${Number(text) % 5}`), text, { qos: 1 });
      const parts: string[][] = [];
      for (const member of members) parts.push(await drain(member));
      assert.deepEqual(parts.flat().sort(), [...all].sort());
      for (const part of parts) assert.ok(part.length >= 5, `a member got ${part.length} of 60`);
      assert.deepEqual(await drain(otherGroup), all);
      assert.deepEqual(await drain(plain), all);
    },
  );

  conforms(
    { v5: '4.8.2-3' },
    "each member gets messages within its own subscription's QoS",
    async (scene) => {
      const zero = await scene.connect();
      const two = await scene.connect();
      await zero.subscribe(shared(scene), 0);
      await two.subscribe(shared(scene), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 10; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 2 });
      await zero.ping();
      await two.ping();
      for (const { type, qos } of zero.history) assert.ok(type !== 'PUBLISH' || qos === 0);
      for (const { type, qos } of two.history) assert.ok(type !== 'PUBLISH' || qos === 2);
      const given = [...zero.history, ...two.history].filter(({ type }) => type === 'PUBLISH');
      assert.equal(given.length, 10);
    },
  );

  conforms(
    { v5: '3.10.4-1 4.8.2-1' },
    'UNSUBSCRIBE takes the whole shared filter, and leaves the share to the others',
    async (scene) => {
      const leaving = await scene.connect();
      const staying = await scene.connect();
      await leaving.subscribe(shared(scene), 1);
      await leaving.subscribe(scene.topic('own'), 1);
      await staying.subscribe(shared(scene), 1);
      assert.deepEqual(
        (await leaving.unsubscribe(scene.topic(), shared(scene, 'a', 'x'))).codes,
        [0x11, 0x11],
      );
      assert.deepEqual((await leaving.unsubscribe(shared(scene))).codes, [0]);
      const publisher = await scene.connect();
      for (let index = 0; index < 6; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      assert.equal((await drain(staying)).length, 6);
      await leaving.quiet();
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'members come and go without losing what is published meanwhile',
    async (scene) => {
      const steady = await scene.connect();
      await steady.subscribe(shared(scene), 1);
      const publisher = await scene.connect();
      const seen: string[] = [];
      for (let round = 0; round < 6; round++) {
        const passing = await scene.connect();
        await passing.subscribe(shared(scene), 1);
        for (let index = 0; index < 4; index++)
          await publisher.publish(scene.topic(), `${round}-${index}`, { qos: 1 });
        seen.push(...(await drain(passing)));
        if (round % 2 === 0) await passing.cut();
        else await passing.disconnect();
        await publisher.publish(scene.topic(), `${round}-end`, { qos: 1 });
      }
      seen.push(...(await drain(steady)));
      assert.equal(new Set(seen).size, 30);
      assert.equal(seen.length, 30);
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'QoS 1 that a member left unacknowledged goes to another when the session of the first ends',
    async (scene) => {
      const a = await scene.connect();
      const b = await scene.connect();
      await a.subscribe(shared(scene), 1);
      await b.subscribe(shared(scene), 1);
      const publisher = await scene.connect();
      for (let index = 0; index < 10; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      await a.ping();
      const held = a.history
        .filter(({ type }) => type === 'PUBLISH')
        .map(({ payload }) => payload.toString());
      assert.ok(held.length > 0);
      const taken = await drain(b);
      await a.cut();
      const texts = [...taken];
      while (texts.length < 10) texts.push((await b.receive()).payload.toString());
      assert.deepEqual(texts.sort(), Array.from({ length: 10 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );

  conforms(
    { v5: '4.5.0-1 3.3.2-17' },
    'what waits in memory for a member goes to another, whole, when the session of the first ends',
    async (scene) => {
      const leaving = [
        await scene.connect({ version: 4 }),
        await scene.connect({ properties: [[PROPERTY.receiveMaximum, 1]] }),
      ];
      const heir = await scene.connect();
      await heir.subscribe(scene.topic('none'), 1);
      const publisher = await scene.connect();
      for (const member of leaving) {
        await member.subscribe(shared(scene), 2);
        const all = Array.from({ length: 120 }, (_, index) => `${index}`);
        for (const text of all) {
          const properties: readonly wire.Property[] = [[PROPERTY.user, ['number', text]]];
          await publisher.publish(scene.topic(), text, { qos: 1 + (Number(text) % 2), properties });
        }
        // One of the first that it is sent, and one that waited before it was.
        const first = await member.receive();
        member.send(wire.acknowledge('PUBACK', first.id));
        await member.ping();
        const begun = member.history.filter(({ type, qos }) => type === 'PUBLISH' && qos === 2);
        await heir.subscribe(shared(scene), 2);
        await member.cut();
        const lost = new Set(['0', ...begun.map(({ payload }) => payload.toString())]);
        const left = all.filter((text) => !lost.has(text));
        const seen: string[] = [];
        await until('what was left', async () => {
          for (let packets = await heir.arrived(); packets.length > 0; packets = await heir.arrived()) {
            for (const packet of packets) {
              const { type, id, payload, qos } = packet;
              if (type === 'PUBLISH') {
                assert.equal(qos, 1 + (Number(payload.toString()) % 2));
                assert.deepEqual(propertiesOf(packet, PROPERTY.user), [['number', payload.toString()]]);
                seen.push(payload.toString());
                heir.send(wire.acknowledge(qos === 1 ? 'PUBACK' : 'PUBREC', id));
              } else if (type === 'PUBREL') heir.send(wire.acknowledge('PUBCOMP', id));
            }
          }
          return seen.length >= left.length;
        });
        assert.deepEqual(seen, left);
        await heir.unsubscribe(shared(scene));
      }
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'with every member away the share’s messages wait for one who is to get them at QoS 1, whoever else shares',
    async (scene) => {
      const ids = [scene.clientId(), scene.clientId(), scene.clientId()] as const;
      for (const [index, clientId] of ids.entries()) {
        const { client } = await scene.connectKept(clientId);
        await client.subscribe(shared(scene), index === 1 ? 1 : 0);
        await client.disconnect();
      }
      const publisher = await scene.connect();
      const all = Array.from({ length: 9 }, (_, index) => `${index}`);
      for (const text of all) await publisher.publish(scene.topic(), text, { qos: 1 });
      const { client } = await scene.connectKept(ids[1]);
      const texts: string[] = [];
      await until('all messages', async () => {
        texts.push(...(await drain(client)));
        return texts.length >= all.length;
      });
      assert.deepEqual(texts, all);
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'what waits for a kept member of two shares goes to each of them once when its session ends',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      for (const group of ['one', 'two']) await client.subscribe(shared(scene, 'a', group), 1);
      await client.disconnect();
      const publisher = await scene.connect();
      const all = ['on', 'on', 'off', 'on'];
      for (const text of all) await publisher.publish(scene.topic(), text, { qos: 1 });
      const one = await scene.connect();
      const two = await scene.connect();
      await one.subscribe(shared(scene, 'a', 'one'), 1);
      await two.subscribe(shared(scene, 'a', 'two'), 1);
      await scene.connect({ clientId, clean: true });
      for (const heir of [one, two]) {
        const texts: string[] = [];
        await until('all messages', async () => {
          texts.push(...(await drain(heir)));
          return texts.length >= all.length;
        });
        assert.deepEqual(texts, all);
        await heir.quiet();
      }
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'what waits for a kept member of several shares goes to the share by which it came',
    async (scene) => {
      const clientId = scene.clientId();
      const { client } = await scene.connectKept(clientId);
      for (const group of ['one', 'two']) await client.subscribe(shared(scene, 'a', group), 1);
      await client.subscribe(scene.topic(), 1);
      await client.disconnect();
      // It takes all of the first share, so that only what came by the second waits, and a copy of the client's own.
      const one = await scene.connect();
      await one.subscribe(shared(scene, 'a', 'one'), 1);
      const publisher = await scene.connect();
      const all = ['on', 'on', 'off', 'on'];
      for (const text of all) await publisher.publish(scene.topic(), text, { qos: 1 });
      for (const text of all) assert.equal((await one.receive()).payload.toString(), text);
      const two = await scene.connect();
      await two.subscribe(shared(scene, 'a', 'two'), 1);
      await scene.connect({ clientId, clean: true });
      for (const text of all) assert.equal((await two.receive()).payload.toString(), text);
      await two.quiet();
      await one.quiet();
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'with every member away the share’s messages wait for one that returns',
    async (scene) => {
      const ids = [scene.clientId(), scene.clientId()];
      for (const clientId of ids) {
        const { client } = await scene.connectKept(clientId);
        await client.subscribe(shared(scene), 1);
        await client.disconnect();
      }
      const publisher = await scene.connect();
      for (let index = 0; index < 10; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      const texts: string[] = [];
      const members: MqttClient[] = [];
      for (const clientId of ids) members.push((await scene.connectKept(clientId)).client);
      await until('all messages', async () => {
        for (const member of members) texts.push(...(await drain(member)));
        return texts.length >= 10;
      });
      assert.deepEqual(texts.sort(), Array.from({ length: 10 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'what waits for a kept member, and what it left unacknowledged, goes to the others when its session ends',
    async (scene) => {
      const ids = [scene.clientId(), scene.clientId()] as const;
      const options = { clean: false, properties: kept };
      const a = await scene.connect({ ...options, clientId: ids[0] });
      await a.subscribe(shared(scene), 2);
      const b = await scene.connect({ ...options, clientId: ids[1] });
      await b.subscribe(shared(scene), 2);
      const publisher = await scene.connect();
      // Half of it in flight to a client that says nothing, half of it for clients that are away.
      for (let index = 0; index < 10; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      const taken = await drain(b);
      assert.ok(taken.length < 10);
      await a.cut();
      await b.disconnect();
      for (let index = 10; index < 20; index++) {
        await publisher.publish(scene.topic(), `${index}`, { qos: 1 + (index % 2) });
      }
      // QoS 2 that is begun stays with whom it was begun.
      await scene.connect({ clientId: ids[0], clean: true });
      const { client: back } = await scene.connectKept(ids[1]);
      const texts = [...taken];
      await until('all messages', async () => {
        texts.push(...(await drain(back)));
        return texts.length >= 20;
      });
      assert.deepEqual([...texts].sort((x, y) => Number(x) - Number(y)), Array.from({ length: 20 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'what waits for a kept member goes to the others when its session ends, though it unsubscribed before',
    async (scene) => {
      const clientId = scene.clientId();
      const { client: leaving } = await scene.connectKept(clientId);
      await leaving.subscribe(shared(scene), 1);
      const publisher = await scene.connect();
      await leaving.disconnect();
      for (let index = 0; index < 10; index++) await publisher.publish(scene.topic(), `${index}`, { qos: 1 });
      const staying = await scene.connect();
      await staying.subscribe(shared(scene), 1);
      // It takes its leave as workers do, without a word about what has come meanwhile.
      const { client: back } = await scene.connectKept(clientId);
      await back.unsubscribe(shared(scene));
      await back.disconnect(0, [[PROPERTY.sessionExpiry, 0]]);
      const texts: string[] = [];
      for (let index = 0; index < 10; index++) texts.push((await staying.receive()).payload.toString());
      assert.deepEqual(texts, Array.from({ length: 10 }, (_, index) => `${index}`)); // prettier-ignore
    },
  );

  conforms(
    { v5: '4.5.0-1' },
    'what came to a kept member by a subscription of its own ends with its session',
    async (scene) => {
      const clientId = scene.clientId();
      const { client: leaving } = await scene.connectKept(clientId);
      await leaving.subscribe(scene.topic('own'), 1);
      await leaving.subscribe(shared(scene, 'both'), 1);
      await leaving.disconnect();
      const publisher = await scene.connect();
      await publisher.publish(scene.topic('own'), 'own', { qos: 1 });
      await publisher.publish(scene.topic('both'), 'shared', { qos: 1 });
      const staying = await scene.connect();
      await staying.subscribe(shared(scene, 'own'), 1);
      await staying.subscribe(shared(scene, 'both'), 1);
      await scene.connect({ clientId, clean: true });
      assert.equal((await staying.receive()).payload.toString(), 'shared');
      await staying.quiet();
    },
  );

  conforms(
    { v5: '4.8.2-4' },
    'QoS 2 begun with a member is completed with it when it returns, and with no other',
    async (scene) => {
      const ids = [scene.clientId(), scene.clientId()] as const;
      const a = await scene.connect({ clientId: ids[0], clean: false, properties: kept });
      const b = await scene.connect({ clientId: ids[1], clean: false, properties: kept });
      await a.subscribe(shared(scene), 2);
      await b.subscribe(shared(scene), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'two', { qos: 2 });
      const { member, message, other } = await chosen(a, b);
      await member.cut();
      await other.quiet();
      const clientId = member === a ? ids[0] : ids[1];
      const back = await scene.connect({ clientId, clean: false, properties: kept });
      const again = await back.receive();
      assert.deepEqual([again.id, again.dup, again.payload.toString()], [message.id, true, 'two']);
      await other.quiet();
    },
  );

  conforms(
    { v5: '4.8.2-5' },
    'QoS 2 begun with a member whose session ends is given to no other',
    async (scene) => {
      const a = await scene.connect();
      const b = await scene.connect();
      await a.subscribe(shared(scene), 2);
      await b.subscribe(shared(scene), 2);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'two', { qos: 2 });
      const { member, other } = await chosen(a, b);
      await member.cut();
      await publisher.publish(scene.topic(), 'next', { qos: 1 });
      assert.equal((await other.receive()).payload.toString(), 'next');
      await other.quiet();
    },
  );

  conforms({ v5: '4.8.2-6' }, 'what a member refuses is given to no other', async (scene) => {
    const a = await scene.connect();
    const b = await scene.connect();
    await a.subscribe(shared(scene), 2);
    await b.subscribe(shared(scene), 2);
    const publisher = await scene.connect();
    for (const qos of [1, 2]) {
      const before = { a: a.history.length, b: b.history.length };
      await publisher.publish(scene.topic(), `refused ${qos}`, { qos });
      await a.ping();
      await b.ping();
      const member = a.history.slice(before.a).some(({ type }) => type === 'PUBLISH') ? a : b;
      const { id } = await member.next('PUBLISH');
      member.send(wire.acknowledge(qos === 1 ? 'PUBACK' : 'PUBREC', id, 0x80));
      await member.quiet();
      await (member === a ? b : a).quiet();
    }
  });

  conforms(
    { v5: '3.3.4-3 3.8.4-3' },
    'a shared subscription has its own identifier, replaced when it is made again',
    async (scene) => {
      const client = await scene.connect();
      await client.subscribe(scene.topic('#'), 1, [[PROPERTY.subscriptionIdentifier, 3]]);
      await client.subscribe(shared(scene), 1, [[PROPERTY.subscriptionIdentifier, 1]]);
      await client.subscribe(shared(scene), 1, [[PROPERTY.subscriptionIdentifier, 2]]);
      await client.publish(scene.topic(), 'x', { qos: 1 });
      await client.ping();
      const copies = client.history.filter(({ type }) => type === 'PUBLISH');
      const identifiers = copies.flatMap((copy) => propertiesOf(copy, PROPERTY.subscriptionIdentifier));
      assert.deepEqual(identifiers.sort(), [2, 3]);
    },
  );
});
