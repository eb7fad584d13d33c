import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { IConnectPacket } from 'mqtt-packet';
import { temporaryFolder } from '../support/stores.js';
import { until } from '../support/wait.js';
import { Publisher, settle, Subscriber } from './client.js';
import { startHost } from './process.js';

/** A subscriber whose session ends a second after its connection, or whose will waits for a second. */
class Fleeting extends Subscriber {
  readonly #more: Partial<IConnectPacket>;

  constructor(clientId: string, filters: string[], more: Partial<IConnectPacket>) {
    super(clientId, 5, filters);
    this.#more = more;
  }

  protected override options(): Partial<IConnectPacket> {
    return this.#more;
  }
}

test('session expiry, message expiry and will delay go on counting while the broker is dead', async (context) => {
  const folder = join(temporaryFolder(context), 'store');
  mkdirSync(folder);
  let host = await startHost(folder, 'product');
  context.after(() => host.kill());
  const witness = new Subscriber('witness', 5, ['crash/#', 'will/#']);
  const mortal = new Fleeting('mortal', ['crash/#'], { properties: { sessionExpiryInterval: 1 } });
  const willing = new Fleeting('willing', ['crash/#'], {
    properties: { sessionExpiryInterval: 1000 },
    will: {
      topic: 'will/of',
      payload: Buffer.from('gone'),
      qos: 1,
      retain: false,
      properties: { willDelayInterval: 1 },
    },
  });
  for (const client of [witness, mortal, willing]) {
    await client.connect(host.port);
    await until('the subscription', () => client.isSubscribed);
    client.cut();
  }
  const cutMs = performance.now();
  // Its session is not there any more when this comes for it, nor is the message when its reader comes.
  const brief = new Publisher('brief', 5, 1, 1);
  await brief.connect(host.port);
  brief.send({
    cmd: 'publish',
    messageId: 9,
    topic: 'crash/brief',
    payload: 'brief:1',
    qos: 1,
    retain: false,
    dup: false,
    properties: { messageExpiryInterval: 1 },
  });
  await settle(host.port, 'settler');
  await host.kill();
  await until('a second to pass', () => performance.now() - cutMs > 1_500);
  host = await startHost(folder, 'product');
  await witness.connect(host.port);
  await until('the will', () => witness.payloads.get('will/of') === 'gone');
  await until('the message without expiry', () => witness.has('settler', 1));
  assert.equal(witness.has('brief', 1), false);
  await mortal.connect(host.port);
  assert.deepEqual(mortal.violations, ['mortal: session lost']);
  await willing.connect(host.port);
  assert.deepEqual(willing.violations, []);
  for (const client of [witness, mortal, willing, brief]) client.cut();
});
