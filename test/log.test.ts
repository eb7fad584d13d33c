import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { createLog } from '../src/log.js';

const linesOf = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('a line is one JSON object with level, time, message and fields', () => {
  const sink = new PassThrough();
  createLog('info', sink).info('ready', { listeners: ['mqtt://127.0.0.1:1883'] });
  const [line] = linesOf(String(sink.read()));
  assert.ok(Math.abs(Number(line?.['time']) - Date.now()) < 5000);
  assert.deepEqual(
    { ...line, time: 0 },
    { level: 'info', time: 0, msg: 'ready', listeners: ['mqtt://127.0.0.1:1883'] },
  );
});

test('an empty text is no field', () => {
  const sink = new PassThrough();
  createLog('info', sink).info('device', { device: 'press1', error: '' });
  assert.deepEqual(Object.keys(linesOf(String(sink.read()))[0] ?? {}), ['level', 'time', 'device', 'msg']);
});

test('text from outside cannot forge or flood a line', () => {
  const sink = new PassThrough();
  createLog('info', sink).warn('refused', {
    client: `x\n{"level":"info","msg":"ready"}${'y'.repeat(10_000)}`,
  });
  const lines = linesOf(String(sink.read()));
  assert.equal(lines.length, 1);
  assert.ok(String(lines[0]?.['client']).length < 1000);
});

test('passwords in addresses are masked, wherever they are cut', () => {
  const sink = new PassThrough();
  const log = createLog('info', sink);
  log.warn('uplink', { node: 'mqtts://plant:open@sesame@cloud:8883' });
  log.warn('uplink', { node: `${'x'.repeat(500)} mqtts://plant:open@sesame@cloud` });
  const written = String(sink.read());
  assert.match(written, /"mqtts:\/\/plant:\*+@cloud:8883"/);
  assert.ok(!/open|sesame/.test(written), written);
});

test('a log that nobody reads costs lines, not memory, and says how many once it is read again', async () => {
  const taken: string[] = [];
  let release = (): void => {};
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      taken.push(chunk.toString());
      release = done;
    },
  });
  const log = createLog('info', sink);
  for (let count = 0; count < 20_000; count += 1) log.info('x'.repeat(400));
  assert.ok(sink.writableLength < 2 * 1024 * 1024);
  while (sink.writableLength > 0) {
    release();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const kept = taken.length;
  log.info('again');
  release();
  const [told, again] = linesOf(taken.slice(kept).join(''));
  assert.deepEqual([told?.['msg'], told?.['count']], ['log lines were dropped', 20_000 - kept]);
  assert.equal(again?.['msg'] ?? 'again', 'again');
});
