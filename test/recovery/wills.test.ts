import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { IConnectPacket } from 'mqtt-packet';
import { temporaryFolder } from '../support/stores.js';
import { until } from '../support/wait.js';
import { settle, Subscriber, type Version } from './client.js';
import { startHost } from './process.js';
import { troubleFileOf } from './troubledfiles.js';

/** A client with a will that names it. */
class Mortal extends Subscriber {
  readonly #delayS: number;

  constructor(clientId: string, version: Version, isClean: boolean, delayS = 0) {
    super(clientId, version, ['crash/#'], isClean);
    this.#delayS = delayS;
  }

  protected override options(): Partial<IConnectPacket> {
    const properties = { willDelayInterval: this.#delayS };
    return {
      will: {
        topic: `will/${this.clientId}`,
        payload: Buffer.from('gone'),
        qos: 1,
        retain: true,
        ...(this.version === 5 ? { properties } : {}),
      },
    };
  }
}

test('who was connected when the process died has left a will, unless it comes back in time', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  let host = await startHost(folder, 'product');
  context.after(() => host.kill());
  const witness = new Subscriber('witness', 5, ['will/#', 'crash/#']);
  const clients = {
    clean4: new Mortal('clean4', 4, true),
    clean5: new Mortal('clean5', 5, true, 100),
    kept4: new Mortal('kept4', 4, false),
    kept5: new Mortal('kept5', 5, false),
    late: new Mortal('late', 5, false, 2),
    returning: new Mortal('returning', 5, false, 2),
    polite: new Mortal('polite', 5, false),
    replaced: new Mortal('replaced', 5, false),
  };
  for (const client of [witness, ...Object.values(clients)]) {
    await client.connect(host.port);
    await until('the subscription', () => client.isSubscribed);
  }
  clients.polite.send({ cmd: 'disconnect', reasonCode: 0 });
  await until('the goodbye', () => !clients.polite.isConnected);
  // The newer connection brought no will.
  const heir = new Subscriber('replaced', 5, ['crash/#']);
  await heir.connect(host.port);
  await until('the will of the replaced connection', () => witness.payloads.has('will/replaced'));
  witness.payloads.clear();
  await settle(host.port, 'settler');
  await host.kill();
  for (const client of [witness, heir, ...Object.values(clients)]) client.cut();

  const diedMs = performance.now();
  host = await startHost(folder, 'product');
  await clients.returning.connect(host.port);
  assert.deepEqual(clients.returning.violations, []);
  await witness.connect(host.port);
  await until('the wills', () =>
    ['clean4', 'clean5', 'kept4', 'kept5', 'late'].every((name) => witness.payloads.has(`will/${name}`)),
  );
  assert.ok(performance.now() - diedMs > 2_000, 'a delay counts from when the process was back');
  await settle(host.port, 'settler2');
  await until('what came after', () => witness.has('settler2', 1));
  for (const name of ['returning', 'polite', 'replaced']) {
    assert.equal(witness.payloads.has(`will/${name}`), false, name);
  }
  // Once and no more: the next crash finds only the will of who is connected now.
  witness.payloads.clear();
  await host.kill();
  host = await startHost(folder, 'product');
  witness.cut();
  await witness.connect(host.port);
  await settle(host.port, 'settler3');
  await until('what came after', () => witness.has('settler3', 1));
  await until('the last will', () => witness.payloads.has('will/returning'));
  const wills = [...witness.payloads.keys()].filter((topic) => topic.startsWith('will/'));
  assert.deepEqual(wills, ['will/returning']);
});

test('a connection that is refused because its session cannot be kept leaves neither will nor session', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  const host = await startHost(folder, 'troubled');
  context.after(() => host.kill());
  const witness = new Subscriber('witness', 5, ['will/#'], true);
  await witness.connect(host.port);
  await until('the subscription', () => witness.isSubscribed);
  // Nothing was written since, so nobody knows yet that the disk takes nothing.
  writeFileSync(troubleFileOf(join(folder, 'data')), 'EROFS');
  const refused = new Mortal('refused', 5, false);
  assert.equal(await refused.connect(host.port), false);
  assert.deepEqual(refused.violations, ['refused: refused with 151']);
  writeFileSync(troubleFileOf(join(folder, 'data')), 'none');
  const marker = { topic: 'will/marker', payload: 'there', qos: 0, retain: false, dup: false } as const;
  await until('the disk to take writes again', async () => {
    const again = new Subscriber('refused', 5, ['crash/#']);
    await again.connect(host.port);
    if (!again.isConnected) return false;
    assert.equal(again.hadSession, false);
    again.send({ cmd: 'publish', ...marker });
    return true;
  });
  await until('what came after', () => witness.payloads.has('will/marker'));
  assert.equal(witness.payloads.has('will/refused'), false);
});

test('a will is kept when its CONNACK comes, of a clean session too', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  let host = await startHost(folder, 'product');
  context.after(() => host.kill());
  const witness = new Subscriber('witness', 5, ['will/#']);
  await witness.connect(host.port);
  await until('the subscription', () => witness.isSubscribed);
  const clean = new Mortal('clean', 5, true);
  assert.ok(await clean.connect(host.port));
  await host.kill();
  witness.cut();
  host = await startHost(folder, 'product');
  await witness.connect(host.port);
  await until('the will', () => witness.payloads.has('will/clean'));
});

test('a client that keeps nothing but a will is let in though the disk hangs', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  const host = await startHost(folder, 'troubled');
  context.after(() => host.kill());
  writeFileSync(troubleFileOf(join(folder, 'data')), 'hold');
  const clean = new Mortal('clean', 5, true);
  assert.ok(await clean.connect(host.port));
  writeFileSync(troubleFileOf(join(folder, 'data')), 'none');
});
