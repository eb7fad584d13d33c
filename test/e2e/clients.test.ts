import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { ModbusServer } from '../support/modbusserver.js';
import { PEERS } from '../support/mqttpeers.js';

const config = (port: number) => `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
devices:
  press1:
    bus: plc
    unit_id: 1
    tags:
      count: { holding: 0, type: uint16, rate: 200ms }
`;

describe('clients of the running gateway', () => {
  const server = new ModbusServer('libmodbus', { kind: 'tcp' }, 1, { 'holding-register': { 0: [4711] } });
  let daemon: Daemon;
  before(async () => {
    await server.start();
    daemon = await new Daemon(config(server.port)).start();
  });
  after(async () => {
    await daemon.remove();
    await server.kill();
  });

  for (const peer of PEERS) {
    test(`${peer.name}: reads the retained value of a tag`, async () => {
      const reading = await peer.subscribe(daemon.port(), 'holdfast/gw/data/press1/+', 1, 1);
      const [message] = await reading.messages;
      assert.equal(message?.topic, 'holdfast/gw/data/press1/count');
      const value = JSON.parse(message?.payload ?? '') as Record<string, unknown>;
      assert.equal(value['v'], 4711);
      assert.equal(value['q'], 'good');
    });

    for (const qos of [0, 1, 2]) {
      test(`${peer.name}: gets at QoS ${qos} what every client publishes, in order and once`, async () => {
        const payloads = ['1', '2', '3', '4', '5'];
        const filter = `test/${qos}/+`;
        const reading = await peer.subscribe(daemon.port(), filter, qos, PEERS.length * payloads.length);
        await Promise.all(
          PEERS.map((other, index) =>
            other.publish(daemon.port(), `test/${qos}/${index}`, payloads, qos, false),
          ),
        );
        const messages = await reading.messages;
        for (const index of PEERS.keys()) {
          const own = messages.filter(({ topic }) => topic === `test/${qos}/${index}`);
          assert.deepEqual(
            own.map(({ payload }) => payload),
            payloads,
            PEERS[index]?.name,
          );
          assert.ok(own.every((message) => message.qos === qos && !message.retain));
        }
      });
    }

    test(`${peer.name}: reads what every client has left retained`, async () => {
      await Promise.all(
        PEERS.map((other, index) =>
          other.publish(daemon.port(), `kept/${index}`, ['old', `from ${index}`], 1, true),
        ),
      );
      const reading = await peer.subscribe(daemon.port(), 'kept/+', 1, PEERS.length);
      const messages = await reading.messages;
      assert.deepEqual(
        messages.map(({ topic, payload }) => `${topic} ${payload}`).sort(),
        PEERS.map((_, index) => `kept/${index} from ${index}`),
      );
      assert.ok(messages.every(({ retain }) => retain));
    });
  }
});
