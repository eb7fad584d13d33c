/** Chapters 3.1 and 3.2: CONNECT and CONNACK. Wills, sessions and timers have files of their own. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

describe('CONNECT and CONNACK', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.1.0-1', v5: '3.1.0-1 3.14.0-1' },
    'any packet before CONNECT closes at once and without a word',
    async (scene) => {
      const { version } = scene;
      const packets = [
        wire.publish(version, { topic: scene.topic() }),
        wire.acknowledge('PUBACK', 1),
        wire.acknowledge('PUBREC', 1),
        wire.acknowledge('PUBREL', 1),
        wire.acknowledge('PUBCOMP', 1),
        wire.subscribe(version, 1, [[scene.topic(), 0]]),
        wire.unsubscribe(version, 1, [scene.topic()]),
        wire.PINGREQ,
        wire.disconnect(version),
        wire.auth(0x18, [[PROPERTY.authenticationMethod, 'x']]),
        Buffer.from('20020000', 'hex'),
        Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      ];
      for (const packet of packets) {
        const client = await scene.open();
        client.send(packet);
        await client.closed(1000);
        assert.deepEqual(client.history, []);
      }
    },
  );

  conforms(
    { v3: '3.1.0-2', v5: '3.1.0-2 4.13.2-1' },
    'a second CONNECT ends the connection',
    async (scene) => {
      const { version } = scene;
      const clientId = scene.clientId();
      const client = await scene.connect({ clientId });
      client.send(wire.connect({ version, clientId }));
      await client.expectClosed(0x82);
      await scene.refuses(wire.connect({ version, clientId: scene.clientId() }), 0x82);
    },
  );

  conforms({ v3: '3.1.2-1', v5: '3.1.2-1' }, 'another protocol name is not served', async (scene) => {
    for (const protocolName of ['MQTX', 'mqtt', 'mqisdp', 'MQTTT', 'MQT', '']) {
      const bytes = wire.connect({ version: scene.version, clientId: scene.clientId(), protocolName });
      await scene.refusesFirst(bytes, 0x84);
    }
  });

  conforms(
    { v3: '3.1.2-1 3.1.2-2', v5: '3.1.2-1' },
    'the name of MQTT 3.1 is not served, whatever the level',
    async (scene) => {
      for (const level of [3, 4, 5, 0x83]) {
        const client = await scene.open(4);
        const bytes: Buffer[] = [];
        client.socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        client.send(
          wire.connect({ version: scene.version, clientId: scene.clientId(), protocolName: 'MQIsdp', level }),
        );
        await new Promise((resolve) => client.socket.once('close', resolve));
        assert.ok(
          ['', '20020001', '2003008400'].includes(Buffer.concat(bytes).toString('hex')),
          `level ${level}`,
        );
      }
    },
  );

  conforms(
    { v3: '3.1.2-2', v5: '3.1.2-2' },
    'another protocol level is refused and the connection closed',
    async (scene) => {
      const levels = scene.version === 4 ? [0, 1, 2, 3] : [6, 7, 127, 255];
      for (const level of levels) {
        const client = await scene.open(4);
        client.send(wire.connect({ version: scene.version, clientId: scene.clientId(), level }));
        // The forms of both versions are right for a level that neither has.
        const answers = scene.version === 4 ? ['20020001'] : ['', '20020001', '2003008400'];
        const bytes: Buffer[] = [];
        client.socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        await new Promise((resolve) => client.socket.once('close', resolve));
        assert.ok(answers.includes(Buffer.concat(bytes).toString('hex')), `level ${level}`);
      }
    },
  );

  conforms(
    { v3: '3.1.2-3', v5: '3.1.2-3' },
    'the reserved connect flag ends the connection',
    async (scene) => {
      const clientId = scene.clientId();
      await scene.refusesFirst(wire.connect({ version: scene.version, clientId, flags: 3 }), 0x81);
      await scene.refusesFirst(wire.connect({ version: scene.version, clientId, flags: 1 }), 0x81);
    },
  );

  conforms(
    { v3: '3.1.2-11 3.1.2-13 3.1.2-14 3.1.2-15 3.1.4-1', v5: '3.1.2-11 3.1.2-12 3.1.2-13 3.1.4-1' },
    'will flags that contradict each other end the connection, and each will QoS is served',
    async (scene) => {
      const { version } = scene;
      for (const flags of [0x0a, 0x12, 0x1a, 0x22, 0x2a])
        await scene.refusesFirst(wire.connect({ version, clientId: scene.clientId(), flags }), 0x81);
      const will = { topic: scene.topic(), payload: 'w' };
      await scene.refusesFirst(wire.connect({ version, clientId: scene.clientId(), will: { ...will, qos: 3 } }), 0x81); // prettier-ignore
      for (const qos of [0, 1, 2]) await (await scene.connect({ will: { ...will, qos } })).disconnect();
    },
  );

  conforms(
    { v3: '3.1.2-9 3.1.2-11 3.1.2-18 3.1.2-19 3.1.2-20 3.1.2-21', v5: '3.1.2-9 3.1.2-16 3.1.2-17 3.1.2-18 3.1.2-19' }, // prettier-ignore
    'payload fields that the flags do not announce, or lack, end the connection',
    async (scene) => {
      const { version } = scene;
      const clientId = scene.clientId();
      const will = { topic: scene.topic(), payload: 'w' };
      const wrong = [
        wire.connect({ version, clientId, username: 'u', flags: 0x02 }),
        wire.connect({ version, clientId, username: 'u', password: 'p', flags: 0x82 }),
        wire.connect({ version, clientId, will, flags: 0x02 }),
        wire.connect({ version, clientId, flags: 0x82 }),
        wire.connect({ version, clientId, username: 'u', flags: 0xc2 }),
        wire.connect({ version, clientId, flags: 0x06 }),
        wire.connect({ version, clientId, will, flags: 0x86 }),
      ];
      for (const bytes of wrong) await scene.refusesFirst(bytes, 0x81);
    },
  );

  conforms({ v3: '3.1.2-22' }, 'a password without a user name ends the connection', async (scene) => {
    await scene.refusesFirst(wire.connect({ version: 4, clientId: scene.clientId(), password: 'p' }));
    await scene.refusesFirst(wire.connect({ version: 4, clientId: scene.clientId(), password: '' }));
  });

  conforms({ v5: '3.1.2-16 3.1.2-19' }, 'a password may come without a user name', async (scene) => {
    await scene.connect({ password: 'p' });
    await scene.connect({ password: Buffer.from([0, 255, 254]) });
  });

  conforms(
    { v3: '3.1.4-1 3.2.2-6 3.1.3-3', v5: '3.1.4-1 3.1.3-3' },
    'a CONNECT too short or too long for its fields ends the connection',
    async (scene) => {
      const { version } = scene;
      const whole = wire.connect({
        version,
        clientId: scene.clientId(),
        will: { topic: scene.topic(), payload: 'w' },
        username: 'u',
        password: 'p',
      });
      const body = whole.subarray(2);
      assert.ok(body.length < 128);
      for (let length = 0; length < body.length; length++)
        await scene.refusesFirst(wire.frame(0x10, body.subarray(0, length)), 0x81);
      await scene.refusesFirst(wire.frame(0x10, body, wire.u8(0)), 0x81);
      await scene.refusesFirst(wire.frame(0x10, body, Buffer.from('abc')), 0x81);
    },
  );

  conforms(
    { v3: '3.1.3-1 3.1.2-9', v5: '3.1.3-1 3.1.2-9' },
    'fields of CONNECT may be as long as a length of two bytes says',
    async (scene) => {
      const long = (name: string): string => `${scene.clientId(name)}`.padEnd(65_535, 'x');
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic());
      await (await scene.connect({ clientId: long('a') })).ping();
      const client = await scene.connect({ username: long('u'), will: { topic: scene.topic(), payload: long('w') } }); // prettier-ignore
      await client.cut();
      assert.equal((await watcher.receive()).payload.length, 65_535);
    },
  );

  conforms(
    { v3: '3.1.3-1 3.1.2-19 3.1.2-21', v5: '3.1.3-1 3.1.2-17 3.1.2-19' },
    'all payload fields are read in their order',
    async (scene) => {
      const clientId = scene.clientId();
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic('will'));
      const { client } = await scene.connectKept(clientId, {
        will: { topic: scene.topic('will'), payload: 'payload' },
        username: 'user',
        password: 'secret',
      });
      await client.cut();
      assert.equal((await watcher.receive()).payload.toString(), 'payload');
      const again = await scene.connectKept(clientId, { username: 'user', password: 'secret' });
      assert.ok(again.connack.sessionPresent);
    },
  );

  conforms(
    { v3: '3.1.3-5', v5: '3.1.3-5' },
    'identifiers of 1 to 23 letters and digits are accepted',
    async (scene) => {
      const letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
      for (const letter of letters) (await scene.connect({ clientId: letter })).socket.end();
      for (let at = 0; at < letters.length; at += 23)
        await scene.connect({ clientId: `${scene.root}${letters.slice(at, at + 23)}`.slice(-23) });
      await scene.connect({ clientId: `${scene.root}-_./ with more than 23 bytes: ${'ö'.repeat(40)}` });
    },
  );

  conforms(
    { v3: '3.1.3-6' },
    'clients with an empty identifier have sessions of their own',
    async (scene) => {
      const first = await scene.connect({ clientId: '' });
      const second = await scene.connect({ clientId: '' });
      await first.subscribe(scene.topic());
      await second.publish(scene.topic(), 'x');
      assert.equal((await first.receive()).payload.toString(), 'x');
      await second.quiet();
      await first.ping();
    },
  );

  conforms(
    { v5: '3.1.3-6 3.1.3-7 3.2.2-16' },
    'an empty identifier is answered by a new one, under which the session can be resumed',
    async (scene) => {
      const properties: readonly wire.Property[] = [[PROPERTY.sessionExpiry, 60]];
      const assigned = new Set<string>();
      for (let index = 0; index < 5; index++) {
        const { client, connack } = await scene.connectTold({ clientId: '', clean: index > 2, properties });
        const clientId = propertyOf(connack, PROPERTY.assignedClientIdentifier);
        assert.ok(typeof clientId === 'string' && clientId.length > 0);
        assigned.add(clientId);
        await client.disconnect();
        const again = await scene.connectTold({ clientId, clean: false, properties });
        assert.ok(again.connack.sessionPresent);
        assert.equal(propertyOf(again.connack, PROPERTY.assignedClientIdentifier), undefined);
        await again.client.disconnect(0, [[PROPERTY.sessionExpiry, 0]]);
      }
      assert.equal(assigned.size, 5);
    },
  );

  conforms(
    { v3: '3.1.3-8 3.1.3-9 3.2.2-4 3.2.2-5' },
    'an empty identifier without CleanSession gets CONNACK 2 and a close',
    async (scene) => {
      const client = await scene.open();
      const connack = await client.handshake({ clientId: '', clean: false });
      assert.deepEqual([connack.codes, connack.sessionPresent], [[2], false]);
      await client.expectClosed();
    },
  );

  conforms({ v5: '3.1.3-8 3.2.2-8' }, 'an identifier that cannot be ends the connection', async (scene) => {
    for (const clientId of ['a\0b', Buffer.from('ff', 'hex')])
      await scene.refusesFirst(wire.connect({ version: 5, clientId }), 0x81, 0x85);
  });

  conforms(
    { v3: '3.1.4-2', v5: '3.1.4-3 4.13.2-1 3.14.4-2' },
    'a second connection under an identifier ends the first, with its reason',
    async (scene) => {
      const clientId = scene.clientId();
      for (const clean of [true, false]) {
        const first = await scene.connect({ clientId, clean });
        const { client: second } = await scene.connectTold({ clientId, clean });
        await first.expectClosed(0x8e);
        await second.ping();
      }
    },
  );

  conforms({ v5: '3.1.4-3' }, 'take-over is said aloud, behind what was on its way', async (scene) => {
    const clientId = scene.clientId();
    const first = await scene.connect({ clientId });
    await first.subscribe(scene.topic());
    const second = await scene.open();
    const burst = Array.from({ length: 50 }, () => wire.publish(5, { topic: scene.topic() }));
    (await scene.connect()).send(...burst);
    await second.handshake({ clientId });
    await first.closed();
    assert.deepEqual(first.history.at(-1)?.codes, [0x8e]);
  });

  conforms(
    { v3: '3.1.4-4 3.2.0-1', v5: '3.1.4-5 3.2.0-1 3.2.0-2' },
    'CONNACK 0 comes first and once, whatever is sent behind CONNECT',
    async (scene) => {
      const { version } = scene;
      const topic = scene.topic();
      const clientId = scene.clientId();
      const { client: away } = await scene.connectKept(clientId);
      await away.subscribe(topic, 1);
      await away.disconnect();
      await (await scene.connect()).publish(topic, 'queued', { qos: 1 });
      const client = await scene.open();
      client.send(
        wire.connect({ version, clientId, clean: false }),
        wire.PINGREQ,
        wire.subscribe(version, 9, [[scene.topic('b'), 0]]),
        wire.publish(version, { topic: scene.topic('b') }),
      );
      assert.deepEqual((await client.next('CONNACK')).codes, [0]);
      await client.ping();
      await client.ping();
      assert.equal(client.history[0]?.type, 'CONNACK');
      assert.equal(client.history.filter(({ type }) => type === 'CONNACK').length, 1);
    },
  );

  conforms({ v3: '3.1.4-5' }, 'nothing behind a refused CONNECT is processed', async (scene) => {
    const client = await scene.open();
    client.send(
      wire.connect({ version: 4, clientId: '', clean: false }),
      wire.publish(4, { topic: scene.topic(), payload: 'x', retain: true }),
      wire.subscribe(4, 1, [[scene.topic(), 0]]),
    );
    await client.closed();
    assert.deepEqual(client.history.map(({ type }) => type), ['CONNACK']); // prettier-ignore
    const later = await scene.connect();
    await later.subscribe(scene.topic());
    await later.quiet();
  });

  conforms(
    { v5: '3.1.4-2 3.1.4-6 3.2.2-6 3.2.2-7 4.12.0-1 4.12.0-4 4.13.2-1' },
    'an authentication method that is not served is refused, and nothing behind it processed',
    async (scene) => {
      const client = await scene.open();
      client.send(
        wire.connect({ clientId: scene.clientId(), properties: [[PROPERTY.authenticationMethod, 'none such'], [PROPERTY.authenticationData, 'x']] }), // prettier-ignore
        wire.publish(5, { topic: scene.topic(), payload: 'x', retain: true }),
        wire.subscribe(5, 1, [[scene.topic(), 0]]),
      );
      await client.closed();
      assert.deepEqual(client.history.map(({ type }) => type), ['CONNACK']); // prettier-ignore
      const [connack] = client.history;
      assert.ok([0x8c, 0x87].includes(connack?.codes[0] ?? 0));
      assert.equal(connack?.sessionPresent, false);
      const later = await scene.connect();
      await later.subscribe(scene.topic());
      await later.quiet();
    },
  );

  conforms(
    { v5: '4.12.0-1 4.12.0-2 4.12.0-5 3.15.2-1 3.15.2-2 3.15.2-3' },
    'no authentication is begun: the answer to any method is the refusing CONNACK, never AUTH',
    async (scene) => {
      for (const method of ['SCRAM-SHA-256', 'PLAIN', 'x'.repeat(300), '']) {
        for (const extra of [
          [],
          [[PROPERTY.authenticationData, Buffer.alloc(100)]],
          [[PROPERTY.maximumPacketSize, 30]],
        ] as const) {
          const client = await scene.open();
          const properties: readonly wire.Property[] = [[PROPERTY.authenticationMethod, method], ...extra];
          client.send(wire.connect({ clientId: scene.clientId(), username: 'u', password: 'p', properties }));
          await client.closed();
          assert.deepEqual(client.history.map(({ type }) => type), ['CONNACK']); // prettier-ignore
          assert.ok([0x8c, 0x87].includes(client.history[0]?.codes[0] ?? 0));
          assert.equal(
            propertyOf(client.history[0] ?? assert.fail(), PROPERTY.authenticationMethod),
            undefined,
          );
        }
      }
    },
  );

  conforms(
    { v5: '3.1.4-1 4.12.0-7' },
    'authentication data without a method ends the connection',
    async (scene) => {
      const properties: readonly wire.Property[] = [[PROPERTY.authenticationData, 'x']];
      await scene.refusesFirst(wire.connect({ clientId: scene.clientId(), properties }), 0x82, 0x81);
    },
  );

  conforms(
    { v5: '4.12.0-6 4.12.0-7 4.12.1-1 4.12.1-2 3.15.2-1' },
    'AUTH from a client that named no method ends the connection, and none is sent to it',
    async (scene) => {
      for (const code of [0x00, 0x18, 0x19]) {
        const { client, connack } = await scene.connectTold();
        assert.equal(propertyOf(connack, PROPERTY.authenticationMethod), undefined);
        client.send(wire.auth(code, [[PROPERTY.authenticationMethod, 'x']]));
        await client.closed();
        assert.deepEqual(client.history.slice(1).map(({ type, codes }) => [type, codes]), [['DISCONNECT', [0x82]]]); // prettier-ignore
      }
      await scene.refuses(Buffer.from('f000', 'hex'), 0x81, 0x82);
      await scene.refuses(Buffer.from('f00101', 'hex'), 0x81, 0x82);
    },
  );

  conforms(
    { v5: '3.1.4-1' },
    'properties out of range, repeated or of another packet end the connection',
    async (scene) => {
      const wrong: readonly (readonly wire.Property[])[] = [
        [[PROPERTY.receiveMaximum, 0]],
        [[PROPERTY.maximumPacketSize, 0]],
        [[PROPERTY.requestProblemInformation, 2]],
        [[PROPERTY.requestResponseInformation, 2]],
        [[PROPERTY.sessionExpiry, 1], [PROPERTY.sessionExpiry, 1]],
        [[PROPERTY.receiveMaximum, 1], [PROPERTY.receiveMaximum, 1]],
        [[PROPERTY.maximumPacketSize, 99], [PROPERTY.maximumPacketSize, 99]],
        [[PROPERTY.topicAliasMaximum, 0], [PROPERTY.topicAliasMaximum, 0]],
        [[PROPERTY.requestProblemInformation, 0], [PROPERTY.requestProblemInformation, 0]],
        [[PROPERTY.requestResponseInformation, 0], [PROPERTY.requestResponseInformation, 0]],
        [[PROPERTY.authenticationMethod, 'a'], [PROPERTY.authenticationMethod, 'a']],
        [[PROPERTY.willDelay, 1]],
        [[PROPERTY.topicAlias, 1]],
        [[PROPERTY.serverKeepAlive, 1]],
        [[PROPERTY.reasonString, 'x']],
        [[PROPERTY.subscriptionIdentifier, 1]],
        [[PROPERTY.payloadFormat, 1]],
        [[0x00, 1]],
        [[0x7f, 1]],
      ]; // prettier-ignore
      for (const properties of wrong)
        await scene.refusesFirst(wire.connect({ clientId: scene.clientId(), properties }), 0x81, 0x82);
      const wrongWills: readonly (readonly wire.Property[])[] = [
        [[PROPERTY.payloadFormat, 2]],
        [[PROPERTY.willDelay, 1], [PROPERTY.willDelay, 1]],
        [[PROPERTY.messageExpiry, 1], [PROPERTY.messageExpiry, 1]],
        [[PROPERTY.contentType, 'a'], [PROPERTY.contentType, 'a']],
        [[PROPERTY.responseTopic, 'a'], [PROPERTY.responseTopic, 'a']],
        [[PROPERTY.responseTopic, 'a/#']],
        [[PROPERTY.correlationData, 'a'], [PROPERTY.correlationData, 'a']],
        [[PROPERTY.sessionExpiry, 1]],
        [[PROPERTY.topicAlias, 1]],
        [[PROPERTY.subscriptionIdentifier, 1]],
      ]; // prettier-ignore
      for (const properties of wrongWills) {
        const will = { topic: scene.topic(), payload: 'w', properties };
        await scene.refusesFirst(wire.connect({ clientId: scene.clientId(), will }), 0x81, 0x82, 0x90, 0x99);
      }
    },
  );

  conforms(
    { v3: '3.1.4-1 4.7.1-1', v5: '3.1.4-1 4.7.0-1' },
    'a will topic with a wildcard, or none, ends the connection',
    async (scene) => {
      for (const topic of ['a/#', '#', '+/a', 'a+', '']) {
        const will = { topic, payload: 'w' };
        await scene.refusesFirst(wire.connect({ version: scene.version, clientId: scene.clientId(), will }), 0x81, 0x82, 0x90); // prettier-ignore
      }
    },
  );

  conforms({ v5: '3.1.2-28' }, 'response information comes only to who asks for it', async (scene) => {
    for (const properties of [[], [[PROPERTY.requestResponseInformation, 0]]] as const) {
      const { connack } = await scene.connectTold({ properties });
      assert.equal(propertyOf(connack, PROPERTY.responseInformation), undefined);
    }
    await scene.connectTold({ properties: [[PROPERTY.requestResponseInformation, 1]] });
  });

  conforms(
    { v5: '3.1.2-29' },
    'without problem information acknowledgements bear no reason string and no user property',
    async (scene) => {
      const client = await scene.connect({ properties: [[PROPERTY.requestProblemInformation, 0]] });
      client.send(wire.publish(5, { topic: scene.topic(), qos: 1, id: 1 }));
      client.send(wire.publish(5, { topic: scene.topic(), qos: 2, id: 2 }));
      client.send(wire.acknowledge('PUBREL', 2), wire.acknowledge('PUBREL', 3));
      client.send(wire.acknowledge('PUBREC', 4));
      client.send(wire.subscribe(5, 5, [[scene.topic('n'), 0], [scene.topic(), 2]])); // prettier-ignore
      client.send(wire.unsubscribe(5, 6, [scene.topic('none'), scene.topic()]));
      await client.ping();
      const answers = client.history.slice(1);
      assert.deepEqual(answers.flatMap(({ properties }) => properties), []); // prettier-ignore
    },
  );

  conforms(
    { v5: '3.1.2-24 3.2.2-19 3.2.2-20' },
    'CONNACK keeps within the maximum packet size of the client, or is not sent',
    async (scene) => {
      for (const size of [1, 4, 5, 6, 10, 15, 16, 20, 25, 30, 50, 70]) {
        for (const clientId of [scene.clientId(), '']) {
          const client = await scene.open();
          client.send(wire.connect({ clientId, properties: [[PROPERTY.maximumPacketSize, size]] }));
          client.send(wire.PINGREQ);
          if ((await client.any()) !== undefined && !client.isClosed) await client.ping();
          for (const { bytes } of client.history)
            assert.ok(bytes.length <= size, `${bytes.length} > ${size}`);
        }
      }
    },
  );

  conforms(
    { v5: '3.2.2-9 3.2.2-10 3.2.2-12 3.2.2-13' },
    'what CONNACK does not limit is served: every QoS, retained messages, wills with both',
    async (scene) => {
      const will = { topic: scene.topic('will'), payload: 'w', qos: 2, retain: true };
      const { client, connack } = await scene.connectTold({ will });
      assert.equal(propertyOf(connack, PROPERTY.maximumQoS), undefined);
      assert.notEqual(propertyOf(connack, PROPERTY.retainAvailable), 0);
      for (const qos of [0, 1, 2]) {
        assert.deepEqual(await client.subscribe(scene.topic(`${qos}`), qos), [qos]);
        await client.publish(scene.topic(`${qos}`), 'x', { qos, retain: true });
        assert.equal((await client.receive()).qos, qos);
      }
      await client.cut();
      const later = await scene.connect();
      await later.subscribe(scene.topic('will'), 2);
      const message = await later.receive();
      assert.deepEqual([message.qos, message.retain], [2, true]);
    },
  );

  conforms(
    { v5: '3.2.2-15 4.13.1-1' },
    'a packet past the announced maximum ends the connection as soon as its length is known',
    async (scene) => {
      const { client, connack } = await scene.connectTold();
      const maximum = propertyOf(connack, PROPERTY.maximumPacketSize);
      assert.ok(typeof maximum === 'number');
      const topic = scene.topic();
      const overhead =
        wire.publish(5, { topic, payload: Buffer.alloc(maximum - 50) }).length - (maximum - 50);
      const largest = wire.publish(5, { topic, payload: Buffer.alloc(maximum - overhead), retain: true });
      assert.equal(largest.length, maximum);
      client.send(largest);
      await client.ping();
      client.send(wire.publish(5, { topic, payload: Buffer.alloc(maximum - overhead + 1) }).subarray(0, 10));
      await client.expectClosed(0x95);
    },
  );

  conforms({ v3: '3.2.2-1', v5: '3.2.2-2' }, 'a clean start never finds a session', async (scene) => {
    const clientId = scene.clientId();
    await (await scene.connectKept(clientId)).client.disconnect();
    const { connack } = await scene.connectTold({ clientId, clean: true });
    assert.deepEqual([connack.codes, connack.sessionPresent], [[0], false]);
  });

  conforms(
    { v3: '3.2.2-2 3.2.2-3', v5: '3.2.2-1 3.2.2-3' },
    'Session Present tells whether there was a session, with subscriptions or without',
    async (scene) => {
      const clientId = scene.clientId();
      const first = await scene.connectKept(clientId);
      assert.equal(first.connack.sessionPresent, false);
      await first.client.disconnect();
      const second = await scene.connectKept(clientId);
      assert.equal(second.connack.sessionPresent, true);
      const third = await scene.connectKept(clientId);
      assert.equal(third.connack.sessionPresent, true);
    },
  );
});
