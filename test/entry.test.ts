import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { compileSooner } from '../src/entry.js';

let probeCount = 0;

/** Made by the optimizing compiler, about to be, or just being: bits of V8's. */
const COMPILED = 0x40 | 0x200 | 0x400;

/** After how many calls, a few KB of bytecode each, V8's optimizing compiler takes up a function. */
function callsUntilCompiled(): number {
  setFlagsFromString('--allow-natives-syntax');
  // What has the same text shares its code.
  const text = `() => { let sum = ${probeCount++}; for (let i = 0; i < 300; i++) sum += i & 7; return sum; }`;
  const [busy, status] = runInThisContext(
    `((busy) => [busy, () => %GetOptimizationStatus(busy)])(${text})`,
  ) as [() => number, () => number];
  for (let calls = 1; calls < 50; calls++) {
    busy();
    if ((status() & COMPILED) !== 0) return calls;
  }
  return Infinity;
}

const skip = process.versions.v8.startsWith('11.3.') ? false : 'the usual budget of this V8 is not known';

test('functions are compiled sooner until the last one that wanted it has ended', { skip }, () => {
  const usually = callsUntilCompiled();
  const ends = [compileSooner(), compileSooner()];
  const soon = callsUntilCompiled();
  assert.ok(soon < usually / 2, `${soon} calls instead of ${usually} while two want it`);
  ends[0]?.();
  assert.equal(callsUntilCompiled(), soon, 'while one wants it');
  ends[1]?.();
  assert.equal(callsUntilCompiled(), usually, 'exactly as usual afterwards');
});

test('threads count together', { skip }, async () => {
  const usually = callsUntilCompiled();
  const end = compileSooner();
  const soon = callsUntilCompiled();
  const entry = new URL('../src/entry.js', import.meta.url).href;
  const worker = new Worker(`import('${entry}').then((entry) => entry.compileSooner()())`, { eval: true });
  await new Promise((resolve) => worker.once('exit', resolve));
  assert.equal(callsUntilCompiled(), soon, 'a thread that has ended leaves it to the other');
  end();
  assert.equal(callsUntilCompiled(), usually);
});

test('threads that collect at once do not take the collector from each other', async () => {
  const entry = new URL('../src/entry.js', import.meta.url).href;
  const text = `import('${entry}').then(({ collectGarbage }) => {
    for (let times = 0; times < 25; times += 1) collectGarbage();
  })`;
  const workers = Array.from({ length: 4 }, () => new Worker(text, { eval: true }));
  const ends = workers.map(
    (worker) =>
      new Promise((resolve) => worker.once('error', resolve).once('exit', () => resolve('collected'))),
  );
  assert.deepEqual(
    (await Promise.all(ends)).map(String),
    workers.map(() => 'collected'),
  );
});
