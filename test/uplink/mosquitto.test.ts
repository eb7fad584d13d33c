/** mosquitto as the far side in both directions, with loops provoked from both ends. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-bridge-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Ends {
  readonly home: MqttClient;
  readonly far: MqttClient;
  readonly atHome: Map<string, number>;
  readonly atFar: Map<string, number>;
}

/** What each end has heard of a message, by topic and text. */
async function listen(url: string, filter: string): Promise<[MqttClient, Map<string, number>]> {
  const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
  cleanups.push(() => client.endAsync(true));
  const heard = new Map<string, number>();
  client.on('message', (topic, payload) => {
    const key = `${topic} ${payload.toString()}`;
    heard.set(key, (heard.get(key) ?? 0) + 1);
  });
  await client.subscribeAsync(filter, { qos: 1 });
  return [client, heard];
}

async function startMosquitto(port: number, bridge: readonly string[]): Promise<void> {
  const file = join(root, `${port}.conf`);
  writeFileSync(file, [`listener ${port} 127.0.0.1`, 'allow_anonymous true', ...bridge, ''].join('\n'));
  const child: ChildProcess = spawn('mosquitto', ['-c', file], { stdio: 'ignore' });
  cleanups.push(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  await until('mosquitto', async () => {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
      reconnectPeriod: 0,
      connectTimeout: 500,
    }).catch(() => null);
    await client?.endAsync(true);
    return client !== null;
  });
}

/** holdfast with an uplink to mosquitto, and mosquitto with bridge lines of its own back to holdfast. */
async function bothEnds(
  uplink: string,
  bridge: (port: number) => readonly string[],
  filter: string,
): Promise<Ends> {
  const [homePort, farPort] = [await freePort(), await freePort()];
  const daemon = new Daemon(`version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ port: ${homePort} }] }
uplinks:
  cloud:
    nodes: ["mqtt://127.0.0.1:${farPort}"]
    announce: []
${uplink}
`);
  cleanups.push(() => daemon.remove());
  await daemon.start();
  await startMosquitto(farPort, bridge(homePort));
  await until('the uplink', () => daemon.logged('uplink connected').length > 0);
  const [home, atHome] = await listen(`mqtt://127.0.0.1:${homePort}`, filter);
  const [far, atFar] = await listen(`mqtt://127.0.0.1:${farPort}`, filter);
  return { home, far, atHome, atFar };
}

/** Both ends have heard each message so often in the end, and no more comes however long the others travel. */
async function settled({ home, far, atHome, atFar }: Ends, topic: string): Promise<void> {
  for (let round = 0; round < 5; round++) {
    await home.publishAsync(topic, `home mark ${round}`, { qos: 1 });
    await far.publishAsync(topic, `far mark ${round}`, { qos: 1 });
    await until(
      `mark ${round}`,
      () => atFar.has(`${topic} home mark ${round}`) && atHome.has(`${topic} far mark ${round}`),
    );
  }
}

describe('mosquitto as far side', () => {
  test('messages go both ways once, QoS and RETAIN kept, and never come back', async () => {
    const ends = await bothEnds(
      '    out: [{ from: "shared/#" }]\n    in: [{ from: "shared/#" }]',
      () => [],
      'shared/#',
    );
    await ends.home.publishAsync('shared/a', 'from home', { qos: 1, retain: true });
    await ends.far.publishAsync('shared/b', 'from afar', { qos: 1, retain: true });
    await settled(ends, 'shared/m');
    assert.equal(ends.atHome.get('shared/a from home'), 1);
    assert.equal(ends.atFar.get('shared/a from home'), 1);
    assert.equal(ends.atHome.get('shared/b from afar'), 1);
    assert.equal(ends.atFar.get('shared/b from afar'), 1);
    for (const heard of [ends.atHome, ends.atFar])
      for (const [text, count] of heard) assert.equal(count, 1, text);
  });

  test('a bridge of mosquitto over the same topics beside the uplink makes no loop', async () => {
    const ends = await bothEnds(
      '    out: [{ from: "shared/#" }]\n    in: [{ from: "shared/#" }]',
      (port) => [
        'connection back',
        `address 127.0.0.1:${port}`,
        'bridge_protocol_version mqttv50',
        'try_private false',
        'topic shared/# both 1',
      ],
      'shared/#',
    );
    await ends.home.publishAsync('shared/a', 'from home', { qos: 1 });
    await ends.far.publishAsync('shared/b', 'from afar', { qos: 1 });
    await settled(ends, 'shared/m');
    // Two ways lead to each end, so what came may have come twice; a loop would never stop.
    for (const heard of [ends.atHome, ends.atFar])
      for (const [text, count] of heard) assert.ok(count <= 3, `${text}: ${count} times`);
  });

  test('with MQTT 3.1.1 rules that cannot meet carry both ways', async () => {
    const ends = await bothEnds(
      '    version: 3.1.1\n    out: [{ from: "out/#", to: "p7/#" }]\n    in: [{ from: "cmd/#", to: "in/#" }]',
      () => [],
      '#',
    );
    await ends.home.publishAsync('out/a', 'up', { qos: 1 });
    await ends.far.publishAsync('cmd/b', 'down', { qos: 1 });
    await until('up', () => ends.atFar.has('p7/a up'));
    await until('down', () => ends.atHome.has('in/b down'));
    assert.equal(ends.atFar.get('p7/a up'), 1);
    assert.equal(ends.atHome.get('in/b down'), 1);
  });

  test('MQTT 5 properties travel, both ways', async () => {
    const ends = await bothEnds('    out: [{ from: "up/#" }]\n    in: [{ from: "down/#" }]', () => [], '#');
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'answer/here',
      correlationData: Buffer.from([0, 1, 255]),
      userProperties: { color: ['red', 'green'], size: 'x' },
      messageExpiryInterval: 100,
      payloadFormatIndicator: true,
    };
    for (const [from, to, topic] of [
      [ends.home, ends.far, 'up/a'],
      [ends.far, ends.home, 'down/a'],
    ] as const) {
      const arrived = new Promise<IPublishPacket>((resolve) =>
        to.once('message', (_topic, _payload, packet) => resolve(packet)),
      );
      await from.publishAsync(topic, 'x', { qos: 1, properties });
      const got = (await arrived).properties;
      assert.equal(got?.contentType, 'text/plain');
      assert.equal(got.responseTopic, 'answer/here');
      assert.deepEqual(Buffer.from(got.correlationData ?? []), properties.correlationData);
      assert.equal(got.payloadFormatIndicator, true);
      assert.deepEqual(got.userProperties?.['color'], ['red', 'green']);
      assert.equal(got.userProperties['size'], 'x');
      assert.ok((got.messageExpiryInterval ?? Infinity) <= 100);
    }
  });
});
