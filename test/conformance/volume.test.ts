/** Statements that show only after tens of thousands of packets; by themselves, so that they keep no other test waiting. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { conforms, useBroker } from './conforms.js';

describe('volume', () => {
  useBroker();

  conforms(
    { v5: '2.2.1-4 4.3.2-1' },
    'identifiers pass over those still in use when they come round',
    async (scene) => {
      const { version } = scene;
      const subscriber = await scene.connect();
      await subscriber.subscribe(scene.topic(), 1);
      const publisher = await scene.connect();
      await publisher.publish(scene.topic(), 'open', { qos: 1 });
      const open = await subscriber.next('PUBLISH');
      const batch = 100;
      const messages = Array.from({ length: batch }, (_, index) => wire.publish(version, { topic: scene.topic(), qos: 1, id: index + 1 })); // prettier-ignore
      for (let sent = 0; sent < 66_000; sent += batch) {
        publisher.send(...messages);
        const got: Buffer[] = [];
        for (let index = 0; index < batch; index++) {
          const { id } = await subscriber.next('PUBLISH');
          assert.notEqual(id, open.id);
          got.push(wire.acknowledge('PUBACK', id));
          if (got.length === 10 || index === batch - 1) subscriber.send(...got.splice(0));
        }
        for (let index = 0; index < batch; index++) await publisher.next('PUBACK');
        subscriber.history.length = 0;
        publisher.history.length = 0;
      }
    },
  );

  conforms(
    { v3: '4.3.3-2' },
    'a client of 3.1.1, which is told no limit, may have every identifier of QoS 2 open',
    async (scene) => {
      const client = await scene.connect();
      const batch = 4096;
      for (let first = 1; first <= 65_535; first += batch) {
        const ids = Array.from({ length: Math.min(batch, 65_536 - first) }, (_, index) => first + index);
        client.send(...ids.map((id) => wire.publish(4, { topic: scene.topic(), qos: 2, id })));
        for (const id of ids) assert.equal((await client.next('PUBREC')).id, id);
        client.history.length = 0;
      }
      await client.ping();
    },
  );
});
