/**
 * Clients that are not ours over mutual TLS: the name in a client's certificate is its user, whom the access rules know,
 * and who has no certificate, or one of another authority, is not let in.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect, connectAsync, type MqttClient } from 'mqtt';
import { userLine } from '../../src/broker/users.js';
import { packageFolder } from '../../src/entry.js';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';
import { until, within } from '../support/wait.js';

const PRESS = { username: 'press', password: 'pressed' } as const;

/** What a client shows: files of its certificate and key, or nothing. */
interface Shown {
  readonly cert: string;
  readonly key: string;
}

/** Resolves once the message is acknowledged; rejects when the client was not let in. */
type Publish = (
  port: number,
  version: 4 | 5,
  shown: Shown | null,
  topic: string,
  payload: string,
) => Promise<void>;

describe('mutual TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mutual-'));
  const ours = join(folder, 'ours');
  const ca = join(ours, 'ca.crt');
  const shown = (authority: string, name: string): Shown => ({
    cert: join(folder, authority, `${name}.crt`),
    key: join(folder, authority, `${name}.key`),
  });
  let daemon: Daemon;
  let watcher: MqttClient;
  const got: string[] = [];

  before(async () => {
    for (const [authority, ...args] of [
      ['ours', 'server', 'localhost', '127.0.0.1'],
      ['ours', 'client', 'press'],
      ['ours', 'client', 'watcher'],
      ['theirs', 'client', 'press'],
    ])
      assert.equal((await holdfast(['cert', ...args, '-d', join(folder, authority ?? '')])).code, 0);
    // Whoever finds out a password gets no further without a certificate.
    const users = { 'users.passwd': `${await userLine(PRESS.username, PRESS.password)}\n` };
    daemon = new Daemon(
      `version: 1
broker:
  users_file: users.passwd
  listeners:
    - protocol: mqtts
      host: 127.0.0.1
      port: 0
      tls: { cert: "${ours}/server.crt", key: "${ours}/server.key", client_ca: "${ca}", require_client_cert: true }
    - protocol: mqtts
      host: 127.0.0.1
      port: 0
      tls: { cert: "${ours}/server.crt", key: "${ours}/server.key", client_ca: "${ca}" }
  access:
    - { user: press, allow: [write], topic: "from/{user}" }
    - { user: watcher, allow: [read], topic: "#" }
  store: memory
`,
      { files: users },
    );
    await daemon.start();
    watcher = await connectAsync(`mqtts://127.0.0.1:${strict()}`, {
      ...filesOf(shown('ours', 'watcher')),
      reconnectPeriod: 0,
    });
    watcher.on('message', (topic, payload) => got.push(`${topic} ${payload.toString()}`));
    await watcher.subscribeAsync('#');
  });
  after(async () => {
    await watcher.endAsync(true);
    await daemon.remove();
    rmSync(folder, { recursive: true });
  });

  /** The listener that wants a certificate, and the one that takes a password instead. */
  const ports = (): number[] => daemon.listeners.map((url) => Number(new URL(url).port));
  const strict = (): number => ports()[0] ?? 0;
  const lenient = (): number => ports()[1] ?? 0;
  const filesOf = (one: Shown | null) => ({
    ca: readFileSync(ca),
    ...(one === null ? {} : { cert: readFileSync(one.cert), key: readFileSync(one.key) }),
  });

  const mqttJs: Publish = async (port, version, one, topic, payload) => {
    const known = one === null ? PRESS : {};
    const client = connect(`mqtts://127.0.0.1:${port}`, {
      ...filesOf(one),
      ...known,
      protocolVersion: version,
      reconnectPeriod: 0,
    });
    client.on('error', () => {});
    try {
      // Why TLS failed it keeps to itself.
      await new Promise((resolve, reject) => {
        client.once('connect', resolve);
        client.once('close', () => reject(new Error('not let in')));
      });
      await client.publishAsync(topic, payload, { qos: 1 });
    } finally {
      await client.endAsync(true);
    }
  };

  const mosquitto: Publish = (port, version, one, topic, payload) =>
    ended('mosquitto_pub', [
      ...['-h', '127.0.0.1', '-p', String(port), '-V', version === 5 ? '5' : 'mqttv311'],
      ...['--cafile', ca, ...(one === null ? [] : ['--cert', one.cert, '--key', one.key])],
      ...(one === null ? ['-u', PRESS.username, '-P', PRESS.password] : []),
      ...['-t', topic, '-m', payload, '-q', '1'],
    ]);

  const paho: Publish = (port, version, one, topic, payload) =>
    ended('/usr/bin/python3', [
      join(packageFolder(), 'test/support/peers/paho_tls.py'),
      ...[String(port), String(version), ca, one?.cert ?? '-', one?.key ?? '-', topic, payload],
    ]);

  for (const [name, publish] of Object.entries({ 'MQTT.js': mqttJs, 'mosquitto clients': mosquitto, paho })) {
    for (const version of [4, 5] as const) {
      test(`${name}, MQTT ${version === 5 ? '5.0' : '3.1.1'}: the certificate is the user, others stay outside`, async () => {
        const payload = `${name}-${version}`;
        const press = shown('ours', 'press');
        // In MQTT 5 a client is told that it may not; either way the message goes nowhere.
        await publish(strict(), version, press, 'from/other', payload).catch(() => {});
        await publish(strict(), version, press, 'from/press', payload);
        await until('the message', () => got.includes(`from/press ${payload}`));
        assert.ok(!got.includes(`from/other ${payload}`));
        await assert.rejects(
          publish(strict(), version, shown('theirs', 'press'), 'from/press', `${payload}-theirs`),
        );
        await assert.rejects(publish(strict(), version, null, 'from/press', `${payload}-none`));
        await assert.rejects(
          publish(lenient(), version, shown('theirs', 'press'), 'from/press', `${payload}-theirs`),
        );
        await publish(lenient(), version, press, 'from/press', `${payload}-leniently`);
        assert.deepEqual(
          got.filter((one) => /-(theirs|none)$/.test(one)),
          [],
        );
      });
    }
  }
});

async function ended(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => (said += bytes.toString()));
  const code = await within(
    `${program} to end`,
    new Promise((resolve) => child.once('close', resolve)),
    20_000,
  );
  if (code !== 0) throw new Error(`${program} ended with ${String(code)}: ${said}`);
}
