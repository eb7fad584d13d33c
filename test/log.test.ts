import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { createLog, visible } from '../src/log.js';

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

test('text from outside does nothing to the terminal that shows it', () => {
  const sink = new PassThrough();
  createLog('info', sink).warn('refused', { client: 'a\x9b2Jb\x7fc\u202ed\x1be' });
  assert.match(String(sink.read()), /"a\\\\u009b2Jb\\\\u007fc\\\\u202ed\\u001be"/);
  assert.equal(visible('a\x1b[2J\nb °C 温'), 'a\\u001b[2J\\u000ab °C 温');
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

test('a log that finds the disk full costs lines, not the process, and says how many once there is room', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-log-'));
  const file = join(folder, 'log');
  // A file must not grow beyond 8 blocks of 512 bytes; then somebody makes room.
  const program = `
    import { truncateSync } from 'node:fs';
    import { createLog } from ${JSON.stringify(new URL('../src/log.js', import.meta.url).href)};
    process.on('SIGXFSZ', () => {});
    const log = createLog();
    for (let count = 0; count < 100; count += 1) {
      log.info('x'.repeat(200));
      await new Promise((resolve) => setImmediate(resolve));
    }
    truncateSync(${JSON.stringify(file)}, 0);
    log.info('again');
  `;
  const line = `ulimit -f 8; exec "$@" 2>>"$0"`;
  const child = spawn('/bin/sh', ['-c', line, file, process.execPath, '--input-type=module', '-e', program]);
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  const [told, again] = linesOf(readFileSync(file, 'utf8'));
  rmSync(folder, { recursive: true });
  assert.equal(told?.['msg'], 'log lines were dropped');
  assert.ok(
    Number(told?.['count']) > 50 && Number(told?.['count']) < 100,
    `${String(told?.['count'])} lines`,
  );
  assert.equal(again?.['msg'], 'again');
});

test('a log whose reader went away costs lines, not the process', async () => {
  const program = `
    import { createLog } from ${JSON.stringify(new URL('../src/log.js', import.meta.url).href)};
    const log = createLog();
    setInterval(() => log.info('here'), 1);
    process.stdin.on('data', () => setTimeout(() => process.exit(7), 50));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'pipe' });
  await once(child.stderr, 'data');
  child.stderr.destroy();
  await once(child.stderr, 'close');
  child.stdin.on('error', () => {}).write('go on for a while');
  assert.deepEqual(await once(child, 'exit'), [7, null]);
});
