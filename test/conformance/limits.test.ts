/** Statements that show where the broker's limits are narrow: patience for CONNECT, keep alive, Receive Maximum, packet size. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { stopwatch } from '../support/stopwatch.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

describe('limits', { concurrency: 8 }, () => {
  useBroker({
    limits: {
      connectTimeoutMs: 700,
      maxKeepAliveS: 2,
      maxInflight: 3,
      maxPacketBytes: 1000,
      maxSessionExpiryS: 100,
    },
  });

  conforms(
    { v3: '3.1.0-1', v5: '3.1.0-1' },
    'who does not send CONNECT in time is cut off, at whatever byte he stops',
    async (scene) => {
      const connect = wire.connect({ version: scene.version, clientId: scene.clientId() });
      for (const length of [0, 1, connect.length - 1]) {
        const client = await scene.open();
        client.send(connect.subarray(0, length));
        const { tookMs, ranMs } = await stopwatch(client.closed());
        assert.ok(tookMs > 500 && ranMs < 2500, `${tookMs} ms`);
        assert.deepEqual(client.history, []);
      }
    },
  );

  conforms(
    { v5: '3.1.2-22 3.2.2-22' },
    'a keep alive beyond the limit is answered by the server’s own, which then counts',
    async (scene) => {
      for (const keepAliveS of [0, 3, 600]) {
        const { client, connack } = await scene.connectTold({ keepAliveS });
        assert.equal(propertyOf(connack, PROPERTY.serverKeepAlive), 2);
        if (keepAliveS === 0) continue;
        const { tookMs, ranMs } = await stopwatch(client.closed());
        assert.ok(tookMs > 2800 && ranMs < 4200, `${tookMs} ms`);
      }
      const { connack } = await scene.connectTold({ keepAliveS: 1 });
      assert.equal(propertyOf(connack, PROPERTY.serverKeepAlive), undefined);
    },
  );

  conforms(
    { v5: '3.3.4-7 4.13.1-1' },
    'one message beyond the announced Receive Maximum ends the connection with 0x93',
    async (scene) => {
      const { client, connack } = await scene.connectTold();
      assert.equal(propertyOf(connack, PROPERTY.receiveMaximum), 3);
      for (let id = 1; id <= 3; id++) {
        client.send(wire.publish(5, { topic: scene.topic(), qos: 2, id }));
        await client.next('PUBREC');
      }
      client.send(wire.publish(5, { topic: scene.topic(), qos: 2, id: 2, dup: true }));
      await client.next('PUBREC');
      client.send(wire.publish(5, { topic: scene.topic(), qos: 0 }));
      await client.ping();
      client.send(wire.publish(5, { topic: scene.topic(), qos: 2, id: 4 }));
      await client.expectClosed(0x93);
    },
  );

  conforms(
    { v3: '4.3.2-1 4.3.3-1', v5: '4.9.0-2' },
    'the server’s own window holds back what is beyond it, and loses nothing',
    async (scene) => {
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 2);
      const publisher = await scene.connect();
      for (let index = 0; index < 30; index++)
        await publisher.publish(scene.topic(), `${index}`, { qos: 1 + (index % 2) });
      assert.equal((await subscriber.receive()).payload.toString(), '0');
      assert.deepEqual(await subscriber.receiveTexts(29), Array.from({ length: 29 }, (_, index) => `${index + 1}`)); // prettier-ignore
      await subscriber.quiet();
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '3.2.2-15' },
    'a packet beyond the maximum size ends the connection when its length is known',
    async (scene) => {
      const { version } = scene;
      const client = await scene.connect();
      client.send(wire.publish(version, { topic: scene.topic(), payload: Buffer.alloc(900) }));
      await client.ping();
      client.send(Buffer.from('30ffffff7f', 'hex'));
      await client.expectClosed(0x95);
    },
  );

  conforms(
    { v5: '3.1.2-23 3.2.2-3' },
    'a session expiry beyond the limit is answered by the one that counts',
    async (scene) => {
      for (const [asked, told] of [
        [100, undefined],
        [101, 100],
        [0xffffffff, 100],
        [0, undefined],
      ] as const) {
        // prettier-ignore
        const { connack } = await scene.connectTold({ properties: [[PROPERTY.sessionExpiry, asked]] });
        assert.equal(propertyOf(connack, PROPERTY.sessionExpiry), told);
      }
    },
  );
});
