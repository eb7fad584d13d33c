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
import { type Log, silentLog } from '../../src/log.js';
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
  const logged: Record<string, unknown>[] = [];
  const clients: MqttClient[] = [];

  before(async () => {
    writeFileSync(usersFile, `${await userLine('office', 'pw')}\n${await userLine('reader', 'pw')}\n`);
    const log: Log = { ...silentLog, info: (message, fields) => logged.push({ message, ...fields }) };
    broker = new Broker({ store: new MemoryStore(), systemIntervalMs: 0, log, ...policyOf([readsAll]) });
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

  /** Has it acknowledge nothing until told. */
  function holdBack(client: MqttClient): () => void {
    const waiting: (() => void)[] = [];
    const acknowledge = client.handleMessage.bind(client);
    client.handleMessage = (packet, callback) => void waiting.push(() => acknowledge(packet, callback));
    return () => {
      client.handleMessage = acknowledge;
      for (const one of waiting) one();
    };
  }

  let endCount = 0;
  /** Everything that was on its way before is there once this is; answers which topics, each once. */
  async function settled(reader: MqttClient & { got: string[] }): Promise<string[]> {
    const last = `end/${++endCount}`;
    await reader.subscribeAsync(last);
    await office.publishAsync(last, '', { qos: 1 });
    await until('the last message', () => reader.got.includes(last));
    return [...new Set(reader.got)].filter((topic) => !topic.startsWith('end/')).sort();
  }

  const end: AccessRule = { ...rule, allow: ['read'], topic: 'end/#' };
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

  test('who is denied a filter or a topic is named in the log, and not at every try', async () => {
    broker.reload(policyOf([{ ...rule, user: 'reader', allow: ['read'], topic: 'a/#' }]));
    const reader = await enter('reader', { clientId: 'scada-8' });
    for (const filter of ['#', 'a/#', 'b']) await reader.subscribeAsync(filter, { qos: 1 }).catch(() => {});
    for (const qos of [0, 1, 2] as const) await reader.publishAsync('a/b', 'x', { qos }).catch(() => {});
    const told = logged.filter(({ client }) => client === 'scada-8');
    assert.deepEqual(
      told.map(({ message, user, topic }) => [message, user, topic]),
      [
        ['subscription denied', 'reader', '#'],
        ['publication denied', 'reader', 'a/b'],
      ],
    );
    broker.reload(policyOf([readsAll]));
  });

  test('what the rules of now deny is not delivered: live, shared, retained, queued or sent under the rules of before', async () => {
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
        const kept = (name: string): IClientOptions => ({
          clientId: `${name}${count}`,
          clean: false,
          properties: { sessionExpiryInterval: 60 },
        });

        await publishAll(1, true);
        const away = await enter('reader', kept('kept'));
        await away.subscribeAsync(TOPICS, { qos: 2, rh: 2 });
        await away.endAsync();
        const lost = await enter('reader', kept('lost'));
        await lost.subscribeAsync(TOPICS, { qos: 2, rh: 2 });
        holdBack(lost);
        const slow = await enter('reader', { properties: { receiveMaximum: 1 } });
        await slow.subscribeAsync(['before', ...TOPICS], { qos: 2, rh: 2 });
        const catchUp = holdBack(slow);
        await office.publishAsync('before', '', { qos: 1 });
        await until('the one message that it may have', () => slow.got.length === 1);
        await publishAll(1);
        await until('what will not be acknowledged', () => lost.got.length > 0);
        await lost.endAsync(true);
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
        const back = await enter('reader', kept('kept'));
        const resent = await enter('reader', kept('lost'));
        const fresh = await enter('reader');
        await fresh.subscribeAsync([...TOPICS, ...WIDE], { qos: 1 }).catch(() => {});
        catchUp();
        slow.got.splice(0, 1);
        for (const [path, reader] of Object.entries({ live, sharing, back, resent, slow, fresh })) {
          const allowed = TOPICS.filter((topic) => rights.mayRead(topic));
          assert.deepEqual(await settled(reader), allowed.sort(), `${path} under ${JSON.stringify(later)}`);
          await reader.endAsync(true);
        }
        for (const name of ['kept', 'lost']) broker.disconnect(`${name}${count}`, true);
      }),
      { numRuns: 25 },
    );
  });

  test('who is refused is named in the log', async () => {
    await assert.rejects(enter('reader', { clientId: 'scada-7', password: 'wrong' }));
    const [{ client, user, address } = {}] = logged.filter(({ message }) => message === 'connection refused');
    assert.deepEqual([client, user], ['scada-7', 'reader']);
    assert.match(String(address), /^127\.0\.0\.1:\d+$/);
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
    assert.deepEqual(await settled(watcher), ['a/c']);
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
    assert.deepEqual(await settled(watcher), []);
  });
});
