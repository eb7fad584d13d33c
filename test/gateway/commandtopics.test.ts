import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommandTopics } from '../../src/gateway/commandtopics.js';
import { busOf, deviceOf, tagOf } from '../support/tags.js';

test('each command topic leads to its tag, and no other topic to any', () => {
  const devices = Array.from({ length: 20 }, (_, index) => deviceOf(index, busOf(0)));
  const tags = devices.flatMap((device, at) =>
    Array.from({ length: 100 }, (_, index) => tagOf(100 * at + index, device, index)),
  );
  const topics = new CommandTopics(tags);
  for (const tag of tags) {
    assert.deepEqual(topics.find(tag.setTopic), { tag, kind: 'write' });
    assert.deepEqual(topics.find(tag.getTopic), { tag, kind: 'read' });
    assert.equal(topics.find(tag.ackTopic), null);
    assert.equal(topics.find(`${tag.setTopic}/0`), null);
  }
  assert.equal(new CommandTopics([]).find(''), null);
});
