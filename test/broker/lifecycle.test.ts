import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../src/store/memory.js';
import { startBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';

test('while the disk takes nothing a will goes to who is there', async (context) => {
  const store = new MemoryStore();
  const { mqtt, close } = await startBroker({ store });
  context.after(close);
  const watcher = await MqttClient.open(mqtt, 5);
  context.after(() => watcher.socket.destroy());
  await watcher.handshake({ clientId: 'watcher', properties: [[0x11, 60]] });
  await watcher.subscribe('will/#', 2);
  const leavers: MqttClient[] = [];
  for (const qos of [1, 2]) {
    const leaver = await MqttClient.open(mqtt, 5);
    await leaver.handshake({
      clientId: `leaver${qos}`,
      properties: [[0x11, 60]],
      will: { topic: `will/${qos}`, payload: 'gone', qos },
    });
    leavers.push(leaver);
  }
  Object.defineProperty(store, 'isHealthy', { get: () => false });
  for (const leaver of leavers) {
    await leaver.cut();
    assert.equal((await watcher.next('PUBLISH')).payload.toString(), 'gone');
  }
});
