/** Rules at every path that a message can take to a reader, also when they change while it is under way. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { Rights, type AccessRule } from '../../src/broker/access.js';
import { Broker, type BrokerPolicy } from '../../src/broker/broker.js';
import { userLine } from '../../src/broker/users.js';
import { MemoryStore } from '../../src/store/memory.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-rights-'));
const usersFile = join(folder, 'users');
const rule = { user: null, group: null, client: null, allow: [], deny: [] };
const OFFICE: AccessRule = { ...rule, user: 'office', allow: ['read', 'write'], topic: '#' };
const policyOf = (rules: readonly AccessRule[]): BrokerPolicy => ({
  anonymous: false,
  anonymousBeyondLoopback: false,
  usersFile,
  access: [OFFICE, ...rules],
  neverRetained: [],
});

const TOPICS = ['a', 'a/b', 'a/c', 'a/b/c', 'b', 'b/c'];
/** Filters that may reach beyond what is allowed: the delivery is where that shows. */
const WIDE = ['#', 'a/#', 'a/+', '+/c', 'b/#'];
const readsAll: AccessRule = { ...rule, user: 'reader', allow: ['read', 'write'], topic: '#' };

describe('rules hold on every path', () => {
  let broker: Broker;
  let url: string;
  let office: MqttClient;
  const clients: MqttClient[] = [];

  before(async () => {
    writeFileSync(usersFile, `${await userLine('office', 'pw')}\n${await userLine('reader', 'pw')}\n`);
    broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0, ...policyOf([readsAll]) });
    await broker.open();
    const settings = {
      protocol: 'mqtt',
      host: '127.0.0.1',
      port: 0,
      path: '',
      tls: null,
      anonymous: null,
    } as const;
    ({ url } = await broker.openListener(settings));
    office = await enter('office');
  });
  after(async () => {
    for (const client of clients) client.end(true);
    await broker.close();
    rmSync(folder, { recursive: true });
  });

  async function enter(
    username: string,
    options: IClientOptions = {},
  ): Promise<MqttClient & { got: string[] }> {
    const got: string[] = [];
    const client = mqtt.connect(url, {
      username,
      password: 'pw',
      reconnectPeriod: 0,
      protocolVersion: 5,
      ...options,
    });
    clients.push(client);
    client.on('message', (topic) => got.push(topic));
    await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
    return Object.assign(client, { got });
  }

  /** Everything that was on its way before is there once this is. */
  async function settled(reader: MqttClient & { got: string[] }): Promise<void> {
    await reader.subscribeAsync('end');
    await office.publishAsync('end', '', { qos: 1 });
    await until('the last message', () => reader.got.includes('end'));
    reader.got.splice(reader.got.indexOf('end'), 1);
  }

  const end: AccessRule = { ...rule, allow: ['read'], topic: 'end' };
  const publishAll = async (qos: 0 | 1 | 2, retain = false): Promise<void> => {
    for (const topic of TOPICS) await office.publishAsync(topic, 'x', { qos, retain });
  };

  const rules = fc.array(
    fc.record({
      topic: fc.constantFrom('#', 'a/#', 'a/+', '+/c', 'a/b/c', 'b', 'b/#', ...TOPICS),
      isAllowed: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  );

  test('what the rules of now deny is not delivered: live, shared, retained, or queued under the rules of before', async () => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(rules, async (chosen) => {
        count += 1;
        broker.reload(policyOf([readsAll]));
        const later = chosen.map(({ topic, isAllowed }): AccessRule => ({
          ...rule,
          user: 'reader',
          ...(isAllowed ? { allow: ['read'] } : { deny: ['read'] }),
          topic,
        }));
        const rights = new Rights(later, { user: 'reader', groups: [], clientId: '' });
        const kept: IClientOptions = {
          clientId: `kept${count}`,
          clean: false,
          properties: { sessionExpiryInterval: 60 },
        };

        await publishAll(1, true);
        const away = await enter('reader', kept);
        await away.subscribeAsync(TOPICS, { qos: 2, rh: 2 });
        await away.endAsync();
        await publishAll(1);
        await publishAll(2);
        const live = await enter('reader');
        await live.subscribeAsync([...TOPICS, ...WIDE], { qos: 2, rh: 2 });
        const sharing = await enter('reader');
        await sharing.subscribeAsync(
          TOPICS.map((topic) => `$share/g/${topic}`),
          { qos: 1 },
        );

        broker.reload(policyOf([end, ...later]));
        await publishAll(1);
        const back = await enter('reader', kept);
        const fresh = await enter('reader');
        await fresh.subscribeAsync(TOPICS, { qos: 1 }).catch(() => {});
        for (const [path, reader] of Object.entries({ live, sharing, back, fresh })) {
          await settled(reader);
          const allowed = TOPICS.filter((topic) => rights.mayRead(topic));
          assert.deepEqual(
            [...new Set(reader.got)].sort(),
            allowed.sort(),
            `${path} under ${JSON.stringify(later)}`,
          );
          await reader.endAsync(true);
        }
        broker.disconnect(`kept${count}`, true);
      }),
      { numRuns: 25 },
    );
  });

  test('a will that may no longer be written is not published', async () => {
    broker.reload(policyOf([readsAll]));
    const watcher = await enter('office');
    await watcher.subscribeAsync('a/#', { qos: 1, rh: 2 });
    const will = { topic: 'a/b', payload: Buffer.from('gone'), qos: 1 as const, retain: false };
    const first = await enter('reader', { will });
    const second = await enter('reader', { will: { ...will, topic: 'a/c' } });
    broker.reload(policyOf([{ ...rule, user: 'reader', deny: ['write'], topic: 'a/b' }, readsAll]));
    first.stream.destroy();
    second.stream.destroy();
    await until('the will that may be written', () => watcher.got.includes('a/c'));
    await settled(watcher);
    assert.deepEqual(watcher.got, ['a/c']);
  });

  test('a command is given only where a rule says so', async () => {
    broker.reload(policyOf([{ ...readsAll, allow: ['read'] }]));
    const watcher = await enter('office');
    await watcher.subscribeAsync('holdfast/#');
    const reader = await enter('reader');
    await assert.rejects(
      reader.publishAsync('holdfast/gw/set/press/speed', '1', { qos: 1 }),
      /Not authorized|135/i,
    );
    await settled(watcher);
    assert.deepEqual(watcher.got, []);
  });
});
