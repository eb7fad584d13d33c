/** Chapter 6: MQTT over WebSocket. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { MqttClient } from '../support/mqttclient.js';
import { encodeFrame, OPCODE, WebSocketClient } from '../support/websocket.js';
import * as wire from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

async function open(
  scene: Scene,
  protocols = 'mqtt',
): Promise<{ socket: WebSocketClient; client: MqttClient }> {
  const {
    status,
    headers,
    client: socket,
  } = await WebSocketClient.open(scene.broker.webSocket, { protocols });
  assert.equal(status, 101);
  assert.equal(headers.get('sec-websocket-protocol'), 'mqtt');
  assert.ok(socket !== undefined);
  return { socket, client: scene.adopt(new MqttClient(socket, scene.version)) };
}

async function connected(scene: Scene): Promise<{ socket: WebSocketClient; client: MqttClient }> {
  const opened = await open(scene);
  assert.deepEqual((await opened.client.handshake({ clientId: scene.clientId() })).codes, [0]);
  return opened;
}

describe('WebSocket', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '6.0.0-4', v5: '6.0.0-4' },
    'mqtt is selected from whatever list of subprotocols it stands in',
    async (scene) => {
      for (const protocols of ['mqtt', 'mqttv3.1, mqtt', 'foo, bar, mqtt', 'mqtt,mqttv3.1'])
        await open(scene, protocols);
    },
  );

  conforms(
    { v3: '6.0.0-4', v5: '6.0.0-4' },
    'without mqtt among the subprotocols none is selected, or the upgrade is refused',
    async (scene) => {
      for (const protocols of ['foo', 'MQTT-X, bar', null]) {
        const { status, headers, client } = await WebSocketClient.open(scene.broker.webSocket, { protocols });
        if (status === 101) assert.equal(headers.get('sec-websocket-protocol'), undefined);
        client?.destroy();
      }
    },
  );

  conforms(
    { v3: '6.0.0-1', v5: '6.0.0-1' },
    'MQTT runs in binary frames, in both directions, between WebSocket and TCP clients',
    async (scene) => {
      const { socket, client } = await connected(scene);
      await client.subscribe(scene.topic(), 2);
      const other = await scene.connect();
      await other.subscribe(scene.topic('b'), 2);
      for (const size of [0, 100, 126, 65_535, 65_536, 150_000]) {
        const payload = Buffer.alloc(size, 7);
        await other.publish(scene.topic(), payload, { qos: 2 });
        assert.ok((await client.receive()).payload.equals(payload));
        await client.publish(scene.topic('b'), payload, { qos: 1 });
        assert.ok((await other.receive()).payload.equals(payload));
      }
      assert.deepEqual(socket.controls, []);
      await client.disconnect();
    },
  );

  conforms(
    { v3: '3.1.2-8', v5: '3.1.2-8' },
    'a close frame without DISCONNECT publishes the will, also while the client keeps its socket',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic());
      const raw = await WebSocketClient.open(scene.broker.webSocket, { protocols: 'mqtt' });
      const { client: socket } = raw;
      assert.ok(socket !== undefined);
      // The other side's end does not end this one.
      socket.raw.allowHalfOpen = true;
      const client = scene.adopt(new MqttClient(socket, scene.version));
      await client.handshake({ clientId: scene.clientId(), will: { topic: scene.topic(), payload: 'w' } });
      socket.sendFrame(OPCODE.close, wire.u16(1000));
      await watcher.receive();
      assert.equal(socket.raw.writable, true);
    },
  );

  conforms(
    { v3: '6.0.0-1', v5: '6.0.0-1' },
    'a text frame ends the connection, before CONNECT and after',
    async (scene) => {
      const connect = wire.connect({ version: scene.version, clientId: scene.clientId() });
      const before = await open(scene);
      before.socket.sendFrame(OPCODE.text, connect);
      await before.client.closed();
      assert.deepEqual(before.client.history, []);
      for (const payload of [wire.PINGREQ, Buffer.from('hello'), Buffer.alloc(0)]) {
        const { socket, client } = await connected(scene);
        socket.sendFrame(OPCODE.text, payload);
        await client.closed();
        assert.ok(!client.history.some(({ type }) => type === 'PINGRESP'));
      }
    },
  );

  conforms(
    { v3: '6.0.0-2', v5: '6.0.0-2' },
    'packets may share frames and span them, fragments and control frames between them',
    async (scene) => {
      const { version } = scene;
      const { socket, client } = await open(scene);
      const stream = Buffer.concat([
        wire.connect({ version, clientId: scene.clientId() }),
        wire.subscribe(version, 1, [[scene.topic(), 1]]),
        wire.publish(version, { topic: scene.topic(), payload: 'x'.repeat(300), qos: 1, id: 4 }),
        wire.PINGREQ,
      ]);
      // All in one frame; then byte by byte; then one fragmented message with a ping inside.
      socket.sendFrame(OPCODE.binary, stream);
      await client.next('CONNACK');
      await client.next('SUBACK');
      await client.ping();
      assert.equal((await client.receive()).payload.length, 300);
      await client.next('PUBACK');
      const second = await open(scene);
      for (const byte of stream) second.socket.sendFrame(OPCODE.binary, wire.u8(byte));
      await second.client.next('CONNACK');
      await second.client.ping();
      const third = await open(scene);
      third.socket.sendFrame(OPCODE.binary, stream.subarray(0, 5), { isFinal: false });
      third.socket.sendFrame(OPCODE.ping, Buffer.from('in between'));
      third.socket.sendFrame(OPCODE.continuation, stream.subarray(5, 40), { isFinal: false });
      third.socket.sendFrame(OPCODE.continuation, Buffer.alloc(0), { isFinal: false });
      third.socket.sendFrame(OPCODE.continuation, stream.subarray(40));
      await third.client.next('CONNACK');
      await third.client.ping();
      assert.deepEqual(await third.socket.control(), {
        opcode: OPCODE.pong,
        payload: Buffer.from('in between'),
      });
    },
  );

  conforms(
    { v3: '6.0.0-2', v5: '6.0.0-2' },
    'the frames themselves may arrive in pieces, and several in one',
    async (scene) => {
      const { version } = scene;
      const { socket, client } = await open(scene);
      const bytes = Buffer.concat([
        encodeFrame(OPCODE.binary, wire.connect({ version, clientId: scene.clientId() })),
        encodeFrame(OPCODE.ping, Buffer.alloc(0)),
        encodeFrame(OPCODE.binary, wire.PINGREQ),
      ]);
      for (const byte of bytes) await new Promise<void>((resolve) => socket.raw.write(wire.u8(byte), () => resolve())); // prettier-ignore
      await client.next('CONNACK');
      await client.next('PINGRESP');
      assert.equal((await socket.control()).opcode, OPCODE.pong);
    },
  );

  conforms(
    { v3: '6.0.0-1', v5: '6.0.0-1' },
    'unmasked frames, reserved bits and reserved opcodes end the connection',
    async (scene) => {
      const wrong = [
        encodeFrame(OPCODE.binary, wire.PINGREQ, { isMasked: false }),
        encodeFrame(OPCODE.binary, wire.PINGREQ, { reservedBits: 4 }),
        encodeFrame(OPCODE.binary, wire.PINGREQ, { reservedBits: 1 }),
        encodeFrame(3, wire.PINGREQ),
        encodeFrame(11, wire.PINGREQ),
        encodeFrame(OPCODE.continuation, wire.PINGREQ),
        encodeFrame(OPCODE.ping, Buffer.alloc(126)),
        encodeFrame(OPCODE.ping, Buffer.alloc(0), { isFinal: false }),
      ];
      for (const bytes of wrong) {
        const { socket, client } = await connected(scene);
        socket.raw.write(bytes);
        await client.closed();
        assert.ok(!client.history.some(({ type }) => type === 'PINGRESP'), bytes.toString('hex'));
      }
    },
  );

  conforms(
    { v3: '6.0.0-1 3.1.2-8', v5: '6.0.0-1 3.1.2-8' },
    'a closed WebSocket is a closed network connection: it is answered and leaves the will',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribe(scene.topic(), 1);
      const { socket, client } = await open(scene);
      const will = { topic: scene.topic(), payload: 'w' };
      await client.handshake({ clientId: scene.clientId(), will });
      socket.sendFrame(OPCODE.close, wire.u16(1000));
      assert.equal((await socket.control()).opcode, OPCODE.close);
      await watcher.receive();
      const cut = await open(scene);
      await cut.client.handshake({ clientId: scene.clientId(), will });
      cut.socket.raw.resetAndDestroy();
      await watcher.receive();
    },
  );

  conforms(
    { v3: '4.8.0-1', v5: '4.13.1-1' },
    'a breach of the protocol ends a WebSocket connection as any other',
    async (scene) => {
      const { client } = await connected(scene);
      client.send(wire.publish(scene.version, { topic: 'a/#' }));
      await client.expectClosed(0x81, 0x82, 0x90);
    },
  );
});
