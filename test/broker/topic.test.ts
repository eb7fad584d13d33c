import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Retained, RetainedMessages } from '../../src/broker/retained.js';
import { Subscriptions } from '../../src/broker/subscriptions.js';
import { covers, isText, isTopicFilter, isTopicName, matches, parseFilter } from '../../src/broker/topic.js';

const encoder = new TextEncoder();
const level = fc.constantFrom('', 'a', 'b', '$x', '$SYS', 'é');
const topic = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
  .filter((text) => text !== '');

/** The rules of MQTT 4.7 written down as they stand there, one level at a time. */
function naive(filterText: string, topicText: string): boolean {
  if (topicText.startsWith('$') && (filterText.startsWith('+') || filterText.startsWith('#'))) return false;
  const step = (filters: string[], topics: string[]): boolean => {
    const [first, ...rest] = filters;
    if (first === undefined) return topics.length === 0;
    if (first === '#') return true;
    const [name, ...below] = topics;
    if (name === undefined) return false;
    if (first !== '+' && first !== name) return false;
    if (below.length === 0 && rest.length === 1 && rest[0] === '#') return true;
    return step(rest, below);
  };
  return step(filterText.split('/'), topicText.split('/'));
}

const messageOf = (topicName: string, payload: Uint8Array): Retained => ({
  topic: topicName,
  payload,
  payloadEnd: payload.length,
  properties: new Uint8Array(0),
  qos: 0,
  expiresAtMs: 0,
  isStored: false,
  publisher: '',
});

describe('topic matching', () => {
  test('a filter matches as the specification says, level by level', () => {
    fc.assert(
      fc.property(filter, topic, (f, t) => assert.equal(matches(f, t), naive(f, t))),
      { numRuns: 2000 },
    );
  });

  test('the trie finds exactly the subscriptions that match, after any additions and removals', () => {
    const operations = fc.array(fc.tuple(filter, fc.nat(3), fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(operations, fc.array(topic, { minLength: 1, maxLength: 10 }), (list, topics) => {
        const trie = new Subscriptions<number>();
        const model = new Set<string>();
        for (const [f, owner, isAdded] of list) {
          const key = `${owner} ${f}`;
          if (isAdded) {
            const entry = {
              owner,
              filter: f,
              share: '',
              qos: 0,
              noLocal: false,
              retainAsPublished: false,
              identifier: 0,
            } as const;
            assert.equal(trie.add(entry), !model.has(key));
            model.add(key);
          } else assert.equal(trie.remove(owner, f, ''), model.delete(key));
        }
        assert.equal(trie.count, model.size);
        for (const t of topics) {
          const found: string[] = [];
          trie.match(t, (entry) => found.push(`${entry.owner} ${entry.filter}`));
          const expected = [...model].filter((key) => naive(key.slice(key.indexOf(' ') + 1), t));
          assert.deepEqual(found.sort(), expected.sort());
        }
      }),
      { numRuns: 300 },
    );
  });

  test('retained messages are found exactly by the filters that match their topics', () => {
    const operations = fc.array(fc.tuple(topic, fc.boolean()), { maxLength: 40 });
    fc.assert(
      fc.property(operations, fc.array(filter, { minLength: 1, maxLength: 10 }), (list, filters) => {
        const retained = new RetainedMessages(Infinity, Infinity);
        const model = new Set<string>();
        for (const [t, isSet] of list) {
          if (isSet) {
            retained.set(messageOf(t, encoder.encode(t)));
            model.add(t);
          } else assert.equal(retained.delete(t) !== null, model.delete(t));
        }
        assert.equal(retained.count, model.size);
        for (const f of filters) {
          const found: string[] = [];
          retained.match(f, (message) => found.push(message.topic));
          assert.deepEqual(found.sort(), [...model].filter((t) => naive(f, t)).sort());
        }
        for (const t of model) retained.delete(t);
        assert.equal(retained.bytes, 0);
      }),
      { numRuns: 300 },
    );
  });

  test('a retained message that is written over counts and gives what came last, whatever its length was before', () => {
    const lengths = fc.array(fc.nat(200), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(lengths, (list) => {
        const retained = new RetainedMessages(Infinity, Infinity);
        const message = { ...messageOf('a/b', new Uint8Array(0)) };
        const place = retained.placeOf('a/b');
        retained.set(message, place);
        for (const [round, length] of list.entries()) {
          const bytes = new Uint8Array(length + 2).fill(round);
          retained.overwrite(message, bytes, 1, length + 1, new Uint8Array(0));
          assert.deepEqual(message.payload.slice(0, message.payloadEnd), bytes.subarray(1, length + 1));
          assert.equal(retained.bytes, 3 + length);
          assert.ok(message.payload.length <= 16 + 2 * length + 15, 'room for long ones is given up');
        }
        retained.delete('a/b');
        assert.ok(place.isCutOff);
        assert.equal(retained.bytes, 0);
      }),
    );
  });

  test('a filter that covers another matches whatever the other matches', () => {
    fc.assert(
      fc.property(filter, filter, topic, (outer, inner, t) => {
        if (covers(outer, inner) && naive(inner, t))
          assert.ok(naive(outer, t), `${outer} covers ${inner}, not ${t}`);
      }),
      { numRuns: 3000 },
    );
    for (const [outer, inner] of [['#', 'a/#'], ['a/#', 'a'], ['a/+', 'a/b'], ['+/+', 'a/+'], ['a/#', 'a/+/#']] as const) assert.ok(covers(outer, inner), `${outer} ${inner}`); // prettier-ignore
    for (const [outer, inner] of [['a/+', 'a/#'], ['a', '+'], ['#', '$SYS/#'], ['a/b', 'a/+'], ['+', '#']] as const) assert.ok(!covers(outer, inner), `${outer} ${inner}`); // prettier-ignore
  });
});

describe('the grammar of topics', () => {
  test('wildcards stand alone in their level, and # at the end', () => {
    for (const right of ['a', '/', '+', '#', 'a/#', '+/+', '/#', '+/a/#', 'a//b', '$SYS/#']) assert.ok(isTopicFilter(right), right); // prettier-ignore
    for (const wrong of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a/b', 'a/b#', '##', '++']) assert.ok(!isTopicFilter(wrong), wrong); // prettier-ignore
  });

  test('a shared subscription has a name without wildcards and a filter', () => {
    assert.deepEqual(parseFilter('$share/g/a/#'), { share: 'g', filter: 'a/#' });
    assert.deepEqual(parseFilter('$share/g//a'), { share: 'g', filter: '/a' });
    assert.deepEqual(parseFilter('$shared/g/a'), { share: '', filter: '$shared/g/a' });
    for (const wrong of ['$share', '$share/g', '$share/g/', '$share//a', '$share/+/a', '$share/a#/x', '$share/g/a#']) assert.equal(parseFilter(wrong), null, wrong); // prettier-ignore
  });

  test('text is well-formed UTF-8 without U+0000', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), (bytes) => {
        let isRight = !bytes.includes(0);
        try {
          new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
        } catch {
          isRight = false;
        }
        assert.equal(isText(bytes, 0, bytes.length), isRight);
      }),
      { numRuns: 3000 },
    );
    for (const wrong of [[0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0xff]]) assert.ok(!isText(Uint8Array.from(wrong), 0, wrong.length)); // prettier-ignore
  });

  test('a topic name is not empty and has no wildcard', () => {
    const check = (text: string): boolean =>
      isTopicName(encoder.encode(text), 0, encoder.encode(text).length);
    assert.ok(check('/') && check('a b/é') && check('$SYS'));
    assert.ok(!check('') && !check('a/+') && !check('#') && !check('a\0'));
  });
});
