import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startBroker } from '../support/broker.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { storeOn } from '../support/stores.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

for (const qos of [1, 2] as const) {
  test(`a 3.1.1 publisher whose QoS ${qos} message met a full disk is closed once there is room, and not before`, async (context) => {
    const disk = new MemoryDisk();
    const store = storeOn(disk);
    const server = await startBroker({ store, systemIntervalMs: 0 });
    context.after(() => server.close());
    const enter = async (clientId: string, clean: boolean): Promise<MqttClient> => {
      const client = await MqttClient.open(server.mqtt, 4);
      context.after(() => client.cut());
      await client.handshake({ clientId, clean });
      return client;
    };
    const away = await enter('away', false);
    await away.subscribe('a/#', 2);
    await away.disconnect();
    const publisher = await enter('publisher', true);
    await publisher.publish('a/b', '1', { qos });
    const send = (client: MqttClient, id: number): void =>
      client.send(wire.publish(4, { topic: 'a/b', payload: `${id}`, qos, id }));

    disk.failWrites = 'ENOSPC';
    send(publisher, 1002);
    await until('a store that refuses', () => !store.isHealthy);
    send(publisher, 1003);
    // Longer than it takes to look for room: it is not made to connect again while that would not help.
    const untilMs = performance.now() + 1500;
    await until('that time', () => performance.now() > untilMs);
    await publisher.ping();

    disk.failWrites = null;
    const answer = qos === 1 ? 'PUBACK' : 'PUBREC';
    assert.equal((await publisher.next(answer)).id, 1002, 'what was taken before is acknowledged');
    send(publisher, 1004);
    await publisher.expectClosed();

    const again = await enter('publisher', true);
    await again.publish('a/b', '1003', { qos });
    await again.publish('a/b', '1004', { qos });
    const back = await enter('away', false);
    assert.deepEqual(await back.receiveTexts(4), ['1', '1002', '1003', '1004']);
  });
}
