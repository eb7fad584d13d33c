/** Chapters 3.14 and 4.13: DISCONNECT from either side, and what errors do. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

describe('DISCONNECT and errors', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '3.14.4-3', v5: '3.14.4-2 3.14.4-1' },
    'after DISCONNECT the server closes, says nothing and processes nothing behind it',
    async (scene) => {
      const { version } = scene;
      const client = await scene.connect();
      client.send(
        wire.disconnect(version),
        wire.PINGREQ,
        wire.publish(version, { topic: scene.topic(), payload: 'x', retain: true }),
      );
      await client.closed();
      assert.deepEqual(client.history.map(({ type }) => type), ['CONNACK']); // prettier-ignore
      const later = await scene.connect();
      await later.subscribe(scene.topic());
      await later.quiet();
    },
  );

  conforms(
    { v5: '3.14.4-2' },
    'each form of a normal DISCONNECT is taken without an answer',
    async (scene) => {
      for (const hex of ['e000', 'e00100', 'e0020000', 'e0020400', 'e00104']) {
        const client = await scene.connect();
        client.send(Buffer.from(hex, 'hex'));
        await client.closed();
        assert.equal(client.history.length, 1, hex);
      }
    },
  );

  conforms(
    { v5: '3.14.2-1 3.14.2-2 3.14.4-1 3.14.4-2 4.13.1-1 4.13.2-1' },
    'an error is answered by one DISCONNECT with a code of its table, the last thing sent, and a close',
    async (scene) => {
      const errors = [
        wire.publish(5, { topic: 'a/#' }),
        wire.subscribe(5, 0, [['a', 0]]),
        wire.connect({ clientId: scene.clientId() }),
        Buffer.from('0000', 'hex'),
      ];
      for (const error of errors) {
        const client = await scene.connect();
        client.send(error, wire.PINGREQ, wire.publish(5, { topic: scene.topic(), qos: 1 }), wire.PINGREQ);
        await client.closed();
        const types = client.history.map(({ type }) => type);
        assert.deepEqual(types, ['CONNACK', 'DISCONNECT']);
        const [code = 0] = client.history[1]?.codes ?? [];
        assert.ok(code >= 0x80);
      }
    },
  );

  conforms(
    { v3: '4.8.0-1 3.14.1-1' },
    'DISCONNECT with a body ends the connection as a failure',
    async (scene) => {
      for (const hex of ['e00100', 'e0020000']) {
        const watcher = await scene.connect();
        await watcher.subscribe(scene.topic(), 1);
        const client = await scene.connect({ will: { topic: scene.topic(), payload: 'w' } });
        client.send(Buffer.from(hex, 'hex'));
        await client.closed();
        await watcher.receive();
      }
    },
  );

  conforms(
    { v5: '4.13.1-1 3.14.2-1' },
    'a DISCONNECT that is malformed or has properties it may not have is an error',
    async (scene) => {
      const properties: readonly (readonly wire.Property[])[] = [
        [[PROPERTY.sessionExpiry, 0], [PROPERTY.sessionExpiry, 0]],
        [[PROPERTY.reasonString, 'a'], [PROPERTY.reasonString, 'a']],
        [[PROPERTY.topicAlias, 1]],
        [[PROPERTY.willDelay, 1]],
        [[0x7f, 1]],
      ]; // prettier-ignore
      for (const each of properties) await scene.refuses(wire.disconnect(5, 0, each), 0x81, 0x82);
      for (const hex of ['e003000000', 'e0020001', 'e003000111', 'e00400020001'])
        await scene.refuses(Buffer.from(hex, 'hex'), 0x81, 0x82);
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '4.13.1-1' },
    'an error of one client leaves the others alone',
    async (scene) => {
      const { version } = scene;
      const healthy = await scene.connect();
      await healthy.subscribe(scene.topic(), 2);
      for (let index = 0; index < 20; index++) {
        const bad = await scene.connect();
        bad.send(wire.publish(version, { topic: scene.topic(), payload: `${index}`, qos: index % 3, id: 1 }));
        bad.send(Buffer.from([index << 4, 0xff, 0xff, 0xff, 0xff, 0x7f]));
        await bad.closed();
      }
      assert.equal((await healthy.receiveTexts(7))[0], '0');
      await healthy.ping();
    },
  );
});
