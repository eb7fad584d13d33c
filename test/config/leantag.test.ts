import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leanTags, packTags, tagWith, unpackTags } from '../../src/config/leantag.js';
import type { Batch, Tag } from '../../src/config/plant.js';
import { busOf, deviceOf, tagOf, writeOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));
const PATTERNS = { set: 't/set/{device}/{tag}', get: 't/get/{device}/{tag}', ack: 't/ack/{device}/{tag}' };
const TAGS = [
  tagOf(0, device, 0, { invalid: [1, 2n], deadband: { kind: 'percent', value: 2 } }),
  tagOf(1, device, 1, { invalid: [1, 2n], deadband: { kind: 'percent', value: 2 } }),
  tagOf(2, device, 2, { invalid: [1, 2], write: writeOf({ table: 'holding-register', address: 2 }) }),
  tagOf(3, device, 3, { plausible: { min: -Infinity, max: 5, maxPerSecond: Infinity } }),
  tagOf(4, device, 4, {
    plausible: { min: -Infinity, max: Infinity, maxPerSecond: Infinity },
    name: '{device}',
  }),
];
const BATCH: Batch = { index: 5, device, group: 'g', tags: TAGS.slice(1, 3), qos: 0, retain: false, topic: 'b', recipe: null }; // prettier-ignore
const ALL = { tags: TAGS, batches: [BATCH] };

const KEYS = Object.keys(TAGS[0] ?? {}) as (keyof Tag)[];
const said = (tag: Tag): unknown => Object.fromEntries(KEYS.map((key) => [key, tag[key]]));

test('a lean tag says all that the plain one says, in this thread and in another', () => {
  for (const { tags, batches } of [
    leanTags(ALL, PATTERNS),
    unpackTags(structuredClone(packTags(ALL, PATTERNS))),
    // A lean one is packed again on its way to a worker.
    leanTags(leanTags(ALL, PATTERNS), PATTERNS),
  ]) {
    assert.deepEqual(tags.map(said), TAGS.map(said));
    assert.deepEqual(batches[0]?.tags, tags.slice(1, 3));
    assert.equal(batches[0].tags[0], tags[1]);
  }
});

test('what tags have in common they hold once, and nothing that only looks alike', () => {
  const [a, b, c, d, e] = unpackTags(structuredClone(packTags(ALL, PATTERNS))).tags;
  assert.equal(a?.deadband, b?.deadband);
  assert.equal(a?.invalid, b?.invalid);
  assert.notDeepEqual(a?.invalid, c?.invalid);
  assert.equal(d?.plausible?.max, 5);
  assert.equal(e?.plausible?.max, Infinity);
});

test('a worker gets no topics', () => {
  const [tag] = unpackTags(structuredClone(packTags(ALL, null))).tags;
  assert.deepEqual([tag?.topic, tag?.setTopic, tag?.getTopic, tag?.ackTopic], ['', '', '', '']);
});

test('a changed tag keeps what was not changed, and JSON knows all of it', () => {
  const [tag] = leanTags(ALL, PATTERNS).tags;
  assert.ok(tag);
  assert.deepEqual(said(tagWith(tag, { index: 9 })), { ...(said(TAGS[0] as Tag) as object), index: 9 });
  const { type, setTopic } = JSON.parse(JSON.stringify({ ...tagWith(tag, { invalid: [] }) })) as Tag;
  assert.deepEqual([type, setTopic], ['uint16', 't/set/device0/tag0']);
});
