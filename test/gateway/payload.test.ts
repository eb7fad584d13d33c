import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCommand } from '../../src/gateway/payload.js';

const read = (text: string) => readCommand(Buffer.from(text));
const value = (text: string | null) => ({ value: text, id: null, ttlMs: null, error: null });

test('a bare JSON value is the value, with every digit it was written with', () => {
  for (const text of [
    '55',
    '-0.5',
    '1e3',
    'true',
    'false',
    'null',
    '"auto"',
    '"a \\"b\\""',
    '18446744073709551615',
  ]) {
    assert.deepEqual(read(text), value(text));
  }
  assert.deepEqual(read(' 55\n'), value('55'));
});

test('an object gives value, id and time to live', () => {
  assert.deepEqual(read('{"v":55,"id":"abc","ttl":"5s"}'), {
    value: '55',
    id: '"abc"',
    ttlMs: 5000,
    error: null,
  });
  assert.deepEqual(read('{ "id" : 7 , "v" : 12345678901234567890 }'), {
    value: '12345678901234567890',
    id: '7',
    ttlMs: null,
    error: null,
  });
});

test('members that mean nothing here are passed over, whatever their name', () => {
  assert.equal(read('{"v":1,"q":"good","t":1795376237895,"__proto__":2,"constructor":3}').value, '1');
});

test('no payload is no value, which a read may be', () => {
  assert.deepEqual(read(''), value(null));
  assert.deepEqual(read('{}'), value(null));
  assert.deepEqual(read('{"id":"x"}'), { value: null, id: '"x"', ttlMs: null, error: null });
});

test('an id behind what is wrong is still known', () => {
  for (const text of [
    '{"v":[1],"id":"x"}',
    '{"v":1,"v":2,"id":"x"}',
    '{"v":{"a":{"b":["}",2]}},"id":"x"}',
    '{"other":[{}, "]"] , "v":1,"id":"x"}',
  ]) {
    const { id, value: none, error } = read(text);
    assert.deepEqual([id, none], ['"x"', null], text);
    assert.match(error ?? '', /is not a plain JSON value|is there twice/, text);
  }
  for (const text of ['{"v":[1,"id":"x"}', '{"v":,"id":"x"}', '{"v":]"id":"x"}'])
    assert.notEqual(read(text).error, null, text);
});

test('what is not a plain value is refused, and the id is still known', () => {
  for (const text of [
    'auto',
    '1 2',
    '[1]',
    '{"v":[1]}',
    '{"v":{"v":{}}}',
    '{"v":1}x',
    '{"v":1,}',
    '01',
    '+1',
    'NaN',
    '0x1f',
  ]) {
    assert.notEqual(read(text).error, null, text);
    assert.equal(read(text).value, null, text);
  }
  const nested = read('{"id":"abc","v":{"a":{}}}');
  assert.equal(nested.id, '"abc"');
  assert.match(nested.error ?? '', /value of "a"/);
  assert.match(read('{"v":1,"x":{}}').error ?? '', /value of "x"/);
  assert.match(read('{"v":{"a":1,"a":2}}').error ?? '', /"a" is there twice/);
  assert.match(read('{"v":{"a":1}').error ?? '', /not a JSON object/);
  assert.match(read('{"v":1,"v":2}').error ?? '', /twice/);
  assert.match(read('{"v":1,"\\u0076":2}').error ?? '', /twice/);
  assert.match(read('{"v":1,"ttl":5}').error ?? '', /duration/);
  assert.match(read('21,5').error ?? '', /a point before its decimals/);
});

test('the value of a recipe is an object of plain values, as it was written', () => {
  assert.deepEqual(read('{"v":{"number":3, "volume":2.50},"id":1}'), {
    value: '{"number":3, "volume":2.50}',
    id: '1',
    ttlMs: null,
    error: null,
  });
});

test('deep, huge and broken payloads are refused at once', () => {
  assert.match(read('['.repeat(4000)).error ?? '', /plain JSON/);
  assert.match(read('{"v":'.repeat(800)).error ?? '', /plain JSON/);
  assert.match(read('1'.repeat(5000)).error ?? '', /longer than/);
  assert.match(readCommand(Uint8Array.of(0x22, 0xff, 0x22)).error ?? '', /UTF-8/);
  assert.match(read(`{"v":1,"id":"${'x'.repeat(300)}"}`).error ?? '', /id is longer/);
});

test('any plain JSON object comes out as JSON.parse reads it', () => {
  const scalar = fc.oneof(fc.string(), fc.double({ noNaN: true }), fc.boolean(), fc.constant(null));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), scalar), scalar, fc.string({ maxLength: 50 }), (rest, v, id) => {
      const text = JSON.stringify({ ...rest, ttl: '1s', v, id }, null, 1);
      const command = read(text);
      fc.pre(text.length < 1000);
      assert.equal(command.error, null);
      assert.deepEqual(JSON.parse(command.value ?? ''), JSON.parse(JSON.stringify(v)));
      assert.equal(JSON.parse(command.id ?? ''), id);
    }),
    { numRuns: 200 },
  );
});

test('whatever bytes come, there is an answer and no exception', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.string().map((text) => Buffer.from(text)),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const command = readCommand(bytes);
        if (command.value !== null) JSON.parse(command.value);
        if (command.id !== null) JSON.parse(command.id);
      },
    ),
    { numRuns: 500 },
  );
});
