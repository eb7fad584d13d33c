/** What an uplink is subscribed to over there: what brings each message once, and nothing that no rule wants any more. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import type { Broker } from '../../src/broker/broker.js';
import type { UplinkRule } from '../../src/config/plant.js';
import { Subscribed } from '../../src/uplink/subscribed.js';
import { ManualClock } from '../support/clock.js';
import { FarSide } from '../support/farside.js';
import { OddBroker } from '../support/oddbroker.js';
import { ruleOf, startUplink } from '../support/uplink.js';
import { until } from '../support/wait.js';

const root = mkdtempSync(join(tmpdir(), 'holdfast-subscriptions-'));
after(() => rmSync(root, { recursive: true, force: true }));
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const PUMP = ruleOf('plants/p7/set/pump/#', 'home/pump1/#', { qos: 2 });
const ALL = ruleOf('plants/+/set/#', 'home/+/#');
const OTHER = ruleOf('other', 'other');

/** A far side that writes down what it is asked for. */
async function setUp(refuses: (filter: string) => boolean = () => false) {
  const asked: string[] = [];
  const far = await OddBroker.start(
    {
      take: () => {},
      grant: (filter, options) => {
        asked.push(`${filter} ${options & 3}`);
        return refuses(filter) ? 0x87 : options & 3;
      },
      unsubscribed: (filter) => void asked.push(`not ${filter}`),
    },
    cleanups,
  );
  return { far, asked };
}

test('one subscription brings what several rules match, at the most QoS of them', async () => {
  const { far, asked } = await setUp();
  const rules = { nodes: [far.url], in: [PUMP, ALL, OTHER, ALL] };
  await startUplink(mkdtempSync(join(root, 'queue-')), rules, cleanups);
  await until('both', () => asked.length === 2);
  assert.deepEqual(asked, ['plants/+/set/# 2', 'other 1']);
});

test('while the filter that takes all is refused narrower ones are asked for, and ended when it is granted', async () => {
  const clock = new ManualClock();
  let isRefused = true;
  const { far, asked } = await setUp((filter) => isRefused && filter === ALL.from);
  const rules = { nodes: [far.url], in: [PUMP, ALL] };
  const { uplink } = await startUplink(mkdtempSync(join(root, 'queue-')), rules, cleanups, { clock });
  await until('the refusal to be told', () => uplink.about().error !== '');
  assert.deepEqual(asked.splice(0), ['plants/+/set/# 2', 'plants/p7/set/pump/# 2']);
  isRefused = false;
  clock.advance(60_000);
  await until('the narrower one to be ended', () => asked.length === 2);
  assert.deepEqual(asked, ['plants/+/set/# 2', 'not plants/p7/set/pump/#']);
  assert.equal(uplink.about().error, '');
});

/** Runs an uplink with these rules until it is subscribed to these filters and nothing else, and does this. */
async function run(
  folder: string,
  url: string,
  rules: readonly UplinkRule[],
  filters: readonly string[],
  then: (broker: Broker) => unknown = () => {},
): Promise<void> {
  const closing: (() => unknown)[] = [];
  const options = { nodes: [url], in: rules, remote: { clientId: 'gateway' } };
  const { broker } = await startUplink(folder, options, closing);
  try {
    await until('the subscriptions', () => new Subscribed(folder).filters.join() === filters.join());
    await then(broker);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

test('what no rule wants any more is ended, also after a restart', async () => {
  const { far, asked } = await setUp();
  const folder = mkdtempSync(join(root, 'queue-'));
  await run(folder, far.url, [ALL], [ALL.from]);
  await run(folder, far.url, [PUMP, OTHER], [PUMP.from, OTHER.from]);
  assert.deepEqual(
    asked.filter((what) => what.startsWith('not')),
    [`not ${ALL.from}`],
  );
});

test('mosquitto, which sends a message for each subscription, brings an order once', async () => {
  const far = await FarSide.create(cleanups);
  await far.start();
  const sender = await far.client();
  const folder = mkdtempSync(join(root, 'queue-'));
  for (const rules of [[PUMP, ALL], [PUMP]]) {
    const here: string[] = [];
    const filter = rules.at(-1)?.from ?? '';
    await run(folder, far.url, rules, [filter], async (broker) => {
      broker.subscribe('home/#', { deliver: ({ topic }) => here.push(topic) });
      for (const what of ['speed', 'mark'])
        await sender.publishAsync(`plants/p7/set/pump/${what}`, '1', { qos: 1 });
      await until('the mark', () => here.at(-1)?.endsWith('mark'));
    });
    assert.deepEqual(here, ['home/pump1/speed', 'home/pump1/mark']);
  }
});
