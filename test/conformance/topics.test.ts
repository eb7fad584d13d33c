/** Chapter 4.7: topic names and filters. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { conforms, useBroker, type Scene } from './conforms.js';

/** Filter, topics it matches, topics it does not. */
const MATCHES: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['sport/tennis/player1/#', ['sport/tennis/player1', 'sport/tennis/player1/ranking', 'sport/tennis/player1/score/x'], ['sport/tennis', 'sport/tennis/player12', 'sport/tennis/player']],
  ['sport/#', ['sport', 'sport/', 'sport/a/b/c'], ['sports', 'Sport', '/sport']],
  ['sport/tennis/+', ['sport/tennis/player1', 'sport/tennis/'], ['sport/tennis', 'sport/tennis/player1/ranking']],
  ['sport/+', ['sport/', 'sport/a'], ['sport', 'sport/a/b']],
  ['+/+', ['/finance', 'a/b', '/', 'a/'], ['a', 'a/b/c', '//']],
  ['/+', ['/finance', '/'], ['finance', '//', '/a/b']],
  ['+', ['finance', 'a'], ['/finance', 'a/', '/']],
  ['+/tennis/#', ['a/tennis', '/tennis', 'a/tennis/b/c'], ['tennis', 'a/b/tennis']],
  ['+/+/#', ['a/b', 'a/b/c', '/', '//', 'a//'], ['a']],
  ['a//b', ['a//b'], ['a/b', 'a/c/b']],
  ['a/+/b', ['a//b', 'a/x/b'], ['a/b', 'a/x/y/b', 'a/x/b/']],
  ['a b/ c', ['a b/ c'], ['ab/c', 'a b/c', 'a b/ c ']],
]; // prettier-ignore

async function matches(scene: Scene, filter: string, topic: string): Promise<boolean> {
  const subscriber = await scene.connect();
  await subscriber.subscribe(filter, 1);
  await subscriber.subscribe(scene.topic('end'), 1);
  const publisher = await scene.connect();
  await publisher.publish(topic, 'x', { qos: 1 });
  await publisher.publish(scene.topic('end'), 'end', { qos: 1 });
  const first = await subscriber.receive();
  if (first.payload.toString() === 'x') await subscriber.receive();
  await subscriber.disconnect();
  await publisher.disconnect();
  return first.payload.toString() === 'x';
}

describe('topics', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '4.7.1-2 4.7.1-3 3.3.2-3 4.5.0-1', v5: '4.7.1-1 4.7.1-2 3.3.2-3 4.5.0-1' },
    'filters match the topics they should and no others',
    async (scene) => {
      for (const [filter, these, others] of MATCHES) {
        // The filter stands below a level of this test's own.
        for (const topic of these) assert.ok(await matches(scene, scene.topic(filter), scene.topic(topic)), `${filter} ${topic}`); // prettier-ignore
        for (const topic of others) assert.ok(!(await matches(scene, scene.topic(filter), scene.topic(topic))), `${filter} ${topic}`); // prettier-ignore
      }
    },
  );

  conforms(
    { v3: '4.7.2-1', v5: '4.7.2-1' },
    'a filter that begins with a wildcard brings nothing that begins with $, live or retained',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribeAll([['#', 1], ['+/#', 1], [`+/${scene.root}/#`, 1], [`+/+`, 1], ['+', 1]]); // prettier-ignore
      const publisher = await scene.connect();
      for (const topic of [`$${scene.root}/a`, `$SYS/${scene.root}`, '$', `$${scene.root}`]) {
        const trial = await scene.connect();
        // Whether a client may publish under $ is the server's to say.
        await trial.publish(topic, 'hidden', { qos: 1, retain: true }).catch(() => undefined);
      }
      await publisher.publish(scene.topic(), 'end', { qos: 1, retain: true });
      const later = await scene.connect();
      await later.subscribe('#', 1);
      for (const client of [watcher, later]) {
        for (
          let message = await client.receive();
          message.payload.toString() !== 'end';
          message = await client.receive()
        )
          assert.ok(!message.topic.startsWith('$'), message.topic);
        await client.ping();
        for (const { type, topic } of client.history) assert.ok(type !== 'PUBLISH' || !topic.startsWith('$'), topic); // prettier-ignore
      }
    },
  );

  conforms(
    { v3: '4.7.2-1', v5: '4.7.2-1' },
    'topics under $SYS are there for those who name them',
    async (scene) => {
      const watcher = await scene.connect();
      await watcher.subscribe('$SYS/#', 0);
      const message = await watcher.receive(12_000);
      assert.match(message.topic, /^\$SYS\//);
    },
  );

  conforms(
    { v3: '4.7.3-4', v5: '4.7.3-4' },
    'topics are compared as they are: no case folding, no trimming, no normal forms',
    async (scene) => {
      const pairs = [
        ['ACCOUNTS', 'Accounts'],
        ['a', 'a '],
        ['a', 'a/'],
        ['\u00e9', 'e\u0301'],
        ['\u212b', '\u00c5'],
        ['\u200b', ''],
        ['a//b', 'a/b'],
        ['./a', 'a'],
        ['%41', 'A'],
        ['\ufb01', 'fi'],
      ] as const;
      for (const [filter, topic] of pairs) {
        assert.ok(!(await matches(scene, scene.topic(`${filter}x`), scene.topic(`${topic}x`))), filter);
        assert.ok(!(await matches(scene, scene.topic(`${topic}x`), scene.topic(`${filter}x`))), topic);
        assert.ok(await matches(scene, scene.topic(`${filter}x`), scene.topic(`${filter}x`)), filter);
      }
    },
  );

  conforms(
    { v3: '4.7.3-3', v5: '4.7.3-3' },
    'topic names and filters of 65,535 bytes are served',
    async (scene) => {
      const topic = `${scene.root}/${'x'.repeat(65_535 - scene.root.length - 1)}`;
      assert.equal(Buffer.byteLength(topic), 65_535);
      const client = await scene.connect();
      assert.deepEqual(await client.subscribe(topic, 1), [1]);
      await client.publish(topic, 'x', { qos: 1 });
      assert.equal((await client.receive()).topic, topic);
      await client.unsubscribe(topic);
    },
  );

  conforms(
    { v3: '4.7.3-1', v5: '4.7.3-1' },
    'a topic of one character is a topic, be it a separator',
    async (scene) => {
      const client = await scene.connect();
      for (const topic of ['/', 'ö']) {
        await client.subscribe(topic, 1);
        await client.publish(topic, scene.root, { qos: 1 });
        for (;;) if ((await client.receive()).payload.toString() === scene.root) break; // prettier-ignore
        await client.unsubscribe(topic);
      }
    },
  );

  conforms(
    { v3: '4.7.3-3 4.7.1-3', v5: '4.7.3-3 4.7.1-2' },
    'topics and filters of tens of thousands of levels are served',
    async (scene) => {
      const client = await scene.connect();
      const levels = 30_000 - 1;
      const topic = `${scene.root}${'/'.repeat(levels)}`;
      const filter = `${scene.root}${'/+'.repeat(levels)}`;
      await client.subscribe(`${scene.root}/#`, 1);
      await client.subscribe(filter, 1);
      await client.publish(topic, 'x', { qos: 1, retain: true });
      const messages = await client.arrived();
      assert.ok(messages.length >= 1);
      for (const message of messages) assert.equal(message.topic, topic);
      const later = await scene.connect();
      await later.subscribe(filter, 1);
      assert.equal((await later.receive()).topic, topic);
    },
  );
});
