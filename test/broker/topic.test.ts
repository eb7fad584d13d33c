import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Retainable, type Retained, RetainedMessages } from '../../src/broker/retained.js';
import { type Entry, entryOf, Subscriptions } from '../../src/broker/subscriptions.js';
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

/** What a publication to a topic with a payload says. */
const publicationOf = (
  topicName: string,
  payload: Uint8Array,
  properties = new Uint8Array(0),
): Retainable => {
  const bytes = encoder.encode(topicName);
  return {
    topic: bytes,
    topicStart: 0,
    topicEnd: bytes.length,
    properties,
    propertiesStart: 0,
    propertiesEnd: properties.length,
    payload,
    payloadStart: 0,
    payloadEnd: payload.length,
    qos: 1,
    expiresAtMs: 1.5,
  };
};

const keep = (retained: RetainedMessages, publication: Retainable, publisher = '', isStored = false) =>
  retained.set(
    retained.nodeOf(publication.topic, 0, publication.topic.length),
    publication,
    publisher,
    isStored,
  );

const topicOf = ({ topic: bytes, topicStart, topicEnd }: Retained): string =>
  Buffer.from(bytes.subarray(topicStart, topicEnd)).toString();

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

  test('the trie keeps few and many subscriptions of one filter apart, whatever comes and goes', () => {
    const operations = fc.array(fc.tuple(fc.nat(40), fc.constantFrom('', 'g'), fc.boolean(), fc.boolean()), { maxLength: 200 }); // prettier-ignore
    fc.assert(
      fc.property(operations, (list) => {
        const trie = new Subscriptions<number>();
        const model = new Map<string, Entry<number>>();
        for (const [owner, share, isAdded, isTold] of list) {
          const key = `${owner} ${share}`;
          const known = model.get(key);
          if (isAdded) {
            const entry = entryOf(owner, { share, filter: 'a/#' }, 0, model.size + 1);
            assert.equal(trie.add(entry, isTold ? (known ?? null) : undefined), known === undefined);
            model.set(key, entry);
          } else {
            assert.equal(trie.remove(owner, 'a/#', share, isTold ? known : undefined), model.delete(key));
          }
          const found = new Set<Entry<number>>();
          trie.match('a/b', (entry) => found.add(entry));
          assert.deepEqual(found, new Set(model.values()));
          assert.equal(trie.count, model.size);
        }
      }),
      { numRuns: 100 },
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
            keep(retained, publicationOf(t, encoder.encode(t)));
            model.add(t);
          } else assert.equal(retained.delete(encoder.encode(t)) !== null, model.delete(t));
        }
        assert.equal(retained.count, model.size);
        for (const f of filters) {
          const found: string[] = [];
          retained.match(f, (message) => found.push(topicOf(message)));
          assert.deepEqual(found.sort(), [...model].filter((t) => naive(f, t)).sort());
          assert.equal(retained.mayHave(f) || found.length === 0, true);
        }
        for (const t of model) retained.delete(encoder.encode(t));
        assert.equal(retained.bytes, 0);
      }),
      { numRuns: 300 },
    );
  });

  test('a retained message that is kept in place of another counts and gives what came last, whatever was before', () => {
    const part = fc.uint8Array({ maxLength: 300 });
    const sample = fc.uint8Array({ minLength: 30, maxLength: 60 });
    const one = fc.oneof(
      fc.tuple(topic, part, part, fc.string({ maxLength: 9 }), fc.boolean()),
      // What the gateway publishes: nothing but a payload.
      fc.tuple(topic, sample, fc.constant(new Uint8Array(0)), fc.constant(''), fc.constant(false)),
    );
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 30 }), (list) => {
        const retained = new RetainedMessages(Infinity, Infinity);
        const model = new Map<string, (typeof list)[number]>();
        for (const next of list) {
          const [name, payload, properties, publisher, isStored] = next;
          const wasStored = keep(retained, publicationOf(name, payload, properties), publisher, isStored);
          assert.equal(wasStored, model.get(name)?.[4] ?? false);
          model.set(name, next);
        }
        let bytes = 0;
        for (const [name, [, payload, properties, publisher, isStored]] of model) {
          const kept = retained.get(encoder.encode(name));
          assert.ok(kept !== null);
          assert.equal(topicOf(kept), name);
          assert.deepEqual(
            Uint8Array.from(kept.payload.subarray(kept.payloadStart, kept.payloadEnd)),
            payload,
          );
          assert.deepEqual(
            Uint8Array.from(kept.properties.subarray(kept.propertiesStart, kept.propertiesEnd)),
            properties,
          );
          assert.deepEqual(
            [kept.qos, kept.expiresAtMs, kept.isStored, kept.publisher],
            [1, 1.5, isStored, publisher],
          );
          // The broker's own are not limited, and each level of the others costs a place.
          if (!name.startsWith('$'))
            bytes +=
              encoder.encode(name).length + payload.length + properties.length + name.split('/').length * 48;
        }
        assert.equal(retained.bytes, bytes);
      }),
    );
  });

  test('a place is known to be gone once its message is, also when another topic has taken its room', () => {
    const retained = new RetainedMessages(Infinity, Infinity);
    const [a, b] = [encoder.encode('a/b'), encoder.encode('c/d')];
    keep(retained, publicationOf('a/b', a));
    const place = retained.placeAt(retained.nodeOf(a, 0, a.length));
    assert.ok(retained.isHere(place));
    retained.delete(a);
    assert.ok(!retained.isHere(place));
    keep(retained, publicationOf('c/d', b));
    assert.ok(!retained.isHere(place));
  });

  test('a search that rests finds each topic once that was there all the while, and none that came meanwhile', () => {
    const changes = fc.array(fc.tuple(topic, fc.boolean()), { maxLength: 5 });
    const rounds = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), changes), { maxLength: 30 });
    fc.assert(
      fc.property(
        fc.array(topic, { maxLength: 40 }),
        filter,
        rounds,
        fc.boolean(),
        (first, f, list, isWhole) => {
          const retained = new RetainedMessages(Infinity, Infinity);
          const put = (t: string): unknown => keep(retained, publicationOf(t, encoder.encode(t)));
          for (const t of first) put(t);
          const before = new Set(first);
          const always = new Set(first);
          const now = new Set(first);
          const search = retained.search(f, retained.newestPlace);
          const found: string[] = [];
          const step = (places: number): void => {
            const message = retained.next(search, places);
            if (message === null) return;
            assert.ok(now.has(topicOf(message)));
            found.push(topicOf(message));
          };
          for (const [places, changed] of list) {
            if (!search.isDone) step(places);
            retained.rest(search);
            for (const [t, isSet] of changed) {
              if (isSet) put(t);
              else retained.delete(encoder.encode(t));
              if (isSet) now.add(t);
              else now.delete(t);
              if (!isSet) always.delete(t);
            }
          }
          while (isWhole && !search.isDone) step(3);
          retained.giveUp(search);
          assert.equal(new Set(found).size, found.length, 'once');
          // A level of what was there before may have become a topic.
          const levels = [...before].flatMap((t) =>
            t.split('/').map((_, at, all) => all.slice(0, at + 1).join('/')),
          );
          for (const t of found) assert.ok(naive(f, t) && levels.includes(t), t);
          if (isWhole)
            for (const t of always) if (naive(f, t)) assert.ok(found.includes(t), `${f} finds ${t}`);
          const places = [...now].map((t) => retained.placeAt(retained.nodeOf(encoder.encode(t), 0, encoder.encode(t).length))); // prettier-ignore
          for (const t of now) retained.delete(encoder.encode(t));
          assert.ok(!places.some((place) => retained.isHere(place)), 'nothing stays for it');
          assert.equal(retained.bytes, 0);
        },
      ),
      { numRuns: 2000 },
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

  test('a topic name is not empty, has no wildcard, and no more bytes than a text may have', () => {
    const check = (text: string): boolean =>
      isTopicName(encoder.encode(text), 0, encoder.encode(text).length);
    assert.ok(check('/') && check('a b/é') && check('$SYS'));
    assert.ok(!check('') && !check('a/+') && !check('#') && !check('a\0'));
    assert.ok(check('x'.repeat(65_535)) && !check('x'.repeat(65_536)));
  });
});
