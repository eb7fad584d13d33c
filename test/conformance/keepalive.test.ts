/** Keep alive, PINGREQ, and the patience of a server with those who do not begin. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as wire from '../support/wire.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import { stopwatch } from '../support/stopwatch.js';
import { conforms, useBroker } from './conforms.js';

describe('keep alive', { concurrency: 16 }, () => {
  useBroker();

  conforms(
    { v3: '3.1.2-24', v5: '3.1.2-22 3.2.2-22' },
    'a silent client is cut off at one and a half times its keep alive',
    async (scene) => {
      for (const [keepAliveS, fromMs, toMs] of [
        [1, 1400, 2200],
        [2, 2900, 3700],
      ] as const) {
        // prettier-ignore
        const { client, connack } = await scene.connectTold({ keepAliveS });
        const given = propertyOf(connack, PROPERTY.serverKeepAlive);
        assert.ok(given === undefined || given === keepAliveS);
        const { tookMs, ranMs } = await stopwatch(client.closed(8000));
        assert.ok(tookMs >= fromMs && ranMs <= toMs, `${keepAliveS} s: ${tookMs} ms`);
        if (scene.version === 5) assert.deepEqual(client.history.at(-1)?.codes, [0x8d]);
      }
    },
  );

  conforms(
    { v3: '3.1.2-24', v5: '3.1.2-22' },
    'what the server sends does not keep a silent client alive',
    async (scene) => {
      const client = await scene.connect({ keepAliveS: 1 });
      const publisher = await scene.connect();
      client.send(wire.subscribe(scene.version, 1, [[scene.topic(), 0]]));
      const publishing = async (): Promise<void> => {
        while (!client.isClosed) {
          await publisher.publish(scene.topic(), 'x');
          await sleep(50);
        }
      };
      const { tookMs, ranMs } = await stopwatch(publishing());
      assert.ok(tookMs > 1400 && ranMs < 2400, `${tookMs} ms`);
    },
  );

  conforms(
    { v3: '3.1.2-24 3.12.4-1', v5: '3.1.2-22 3.12.4-1' },
    'any packet of the client keeps it alive',
    async (scene) => {
      const client = await scene.connect({ keepAliveS: 2 });
      // Two of these together are longer than a silence may last.
      const pause = (): Promise<void> => sleep(1900);
      await pause();
      await client.ping();
      await pause();
      client.send(wire.publish(scene.version, { topic: scene.topic() }));
      await pause();
      client.send(wire.acknowledge('PUBACK', 99));
      await pause();
      await client.ping();
    },
  );

  conforms({ v3: '3.1.2-24', v5: '3.1.2-22' }, 'keep alive 0 knows no silence', async (scene) => {
    const client = await scene.connect({ keepAliveS: 0 });
    await sleep(3000);
    await client.ping();
  });

  conforms({ v3: '3.12.4-1', v5: '3.12.4-1' }, 'each PINGREQ gets its PINGRESP', async (scene) => {
    const client = await scene.connect();
    client.send(...Array.from({ length: 100 }, () => wire.PINGREQ));
    for (let count = 0; count < 100; count++) await client.next('PINGRESP');
    await client.quiet();
  });

  conforms({ v3: '4.8.0-1', v5: '4.13.1-1' }, 'PINGREQ with a body ends the connection', async (scene) => {
    await scene.refuses(Buffer.from('c00100', 'hex'), 0x81);
    await scene.refuses(Buffer.from('c0020000', 'hex'), 0x81);
  });

  conforms(
    { v3: '3.1.2-24', v5: '3.1.2-22' },
    'bytes that never become a packet do not keep a client alive',
    async (scene) => {
      const client = await scene.connect({ keepAliveS: 1 });
      const bytes = wire.publish(scene.version, { topic: scene.topic(), payload: 'x'.repeat(100) });
      const sending = async (): Promise<void> => {
        for (let at = 0; at < bytes.length && !client.isClosed; at++) {
          client.send(bytes.subarray(at, at + 1));
          await sleep(100);
        }
      };
      const { tookMs, ranMs } = await stopwatch(sending());
      assert.ok(tookMs > 1400 && ranMs < 2600, `${tookMs} ms`);
    },
  );
});
