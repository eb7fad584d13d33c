/**
 * An independent probe of the line's physics: it opens the pseudo-terminal itself, measures with its own clock, and
 * computes what a line should do from the characters' bits alone.
 */
import assert from 'node:assert/strict';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import type { UnitSpec } from '../../src/simulator/spec.js';
import { startLine } from '../support/plant.js';

/** 3 4 0000 n, by hand. */
function readRequest(unitId: number, quantity: number): Buffer {
  const frame = Buffer.from([unitId, 3, 0, 0, 0, quantity, 0, 0]);
  let crc = 0xffff;
  for (const byte of frame.subarray(0, 6)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1;
  }
  frame.writeUInt16LE(crc, 6);
  return frame;
}

class Probe {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  }

  write(bytes: Buffer): number {
    const atMs = performance.now();
    writeSync(this.#fd, bytes);
    return atMs;
  }

  /** When each byte was there, until so many have come or the time is over. Turns on the spot. */
  arrivals(count: number, limitMs: number): { atMs: number; byte: number }[] {
    const endMs = performance.now() + limitMs;
    const seen: { atMs: number; byte: number }[] = [];
    const buffer = Buffer.alloc(256);
    while (seen.length < count && performance.now() < endMs) {
      let length = 0;
      try {
        length = readSync(this.#fd, buffer);
      } catch (error) {
        // Nothing there yet.
        if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
      }
      const atMs = performance.now();
      for (const byte of buffer.subarray(0, length)) seen.push({ atMs, byte });
    }
    return seen;
  }

  /** Until so long after a moment. */
  static waitUntil(atMs: number): void {
    while (performance.now() < atMs);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** A busy machine delays some exchanges; so many are tried until one was not. */
const ROUNDS_MAX = 200;

/** Whether even the quickest took longer than the line does. */
function isLate(tookMs: readonly number[], wantedMs: number): boolean {
  return Math.min(...tookMs) - wantedMs >= 0.5;
}

const UNITS: UnitSpec[] = [1, 2].map((unitId) => ({
  unitId,
  turnaroundMs: 3,
  values: [{ table: 'holding-register', address: 0, quantity: 125, script: 'stamp' }],
}));

const LINES = [
  { baud: 9600, characterMs: 10 / 9.6, silenceMs: 3.5 * (10 / 9.6), format: { parity: 'none' } },
  { baud: 19200, characterMs: 11 / 19.2, silenceMs: 3.5 * (11 / 19.2), format: { parity: 'even' } },
  { baud: 115200, characterMs: 10 / 115.2, silenceMs: 1.75, format: { parity: 'none' } },
] as const;

for (const { baud, characterMs, silenceMs, format } of LINES) {
  test(`an exchange at ${baud} baud takes as long as its characters, two silences and the turnaround`, async (t) => {
    const { plant, path } = await startLine(t, UNITS, { baud, ...format });
    const probe = new Probe(path);
    for (const quantity of [1, 40]) {
      const answerBytes = 5 + 2 * quantity;
      const wantedMs = 8 * characterMs + silenceMs + 3 + answerBytes * characterMs;
      const tookMs: number[] = [];
      let quietMs = performance.now();
      for (let round = 0; round < 8 || (isLate(tookMs, wantedMs) && round < ROUNDS_MAX); round++) {
        Probe.waitUntil(quietMs + silenceMs + 0.5);
        const startMs = probe.write(readRequest(1, quantity));
        const seen = probe.arrivals(answerBytes, 2000);
        quietMs = seen.at(-1)?.atMs ?? 0;
        tookMs.push(quietMs - startMs);
        assert.equal(seen.length, answerBytes);
        // No byte is there before its character has passed.
        seen.forEach(({ atMs }, index) => {
          const earliestMs = 8 * characterMs + silenceMs + 3 + (index + 1) * characterMs;
          assert.ok(
            atMs - startMs > earliestMs - 0.05,
            `byte ${index} came ${earliestMs - (atMs - startMs)} ms early`,
          );
        });
      }
      assert.ok(
        !isLate(tookMs, wantedMs),
        `${quantity} registers took ${tookMs.map((ms) => ms.toFixed(2)).join(' ')}, not ${wantedMs.toFixed(2)} ms`,
      );
    }
    assert.equal((await plant.counts('line')).silenceViolations, 0);
    probe.close();
  });
}

test('requests without 3.5 characters of silence before them are dropped and counted; a tolerant line answers them', async (t) => {
  const ROUNDS = 12;
  for (const isStrict of [true, false]) {
    const { plant, path } = await startLine(t, UNITS, { baud: 9600, isStrict });
    const probe = new Probe(path);
    let answered = 0;
    let violations = 0;
    let rounds = 0;
    // On a busy machine the line may be looked at late now and then, which is in the master's favour: then some more.
    while (rounds < ROUNDS || (isStrict && violations < ROUNDS / 4 && rounds < ROUNDS_MAX)) {
      rounds += 1;
      probe.write(readRequest(1, 1));
      const seen = probe.arrivals(7, 2000);
      assert.equal(seen.length, 7);
      Probe.waitUntil((seen.at(-1)?.atMs ?? 0) + 1);
      probe.write(readRequest(2, 1));
      if (probe.arrivals(7, 300).length === 7) answered++;
      Probe.waitUntil(performance.now() + 6);
      violations = (await plant.counts('line')).silenceViolations;
    }
    assert.ok(violations >= ROUNDS / 4, `${violations} of ${rounds} seen`);
    assert.equal(answered, isStrict ? rounds - violations : rounds);
    probe.close();
  }
});

test('what a master sends into an answer garbles it, and is itself lost', async (t) => {
  const { plant, path } = await startLine(t, UNITS, { baud: 9600 });
  const probe = new Probe(path);
  probe.write(readRequest(1, 120));
  const first = probe.arrivals(16, 500);
  probe.write(readRequest(2, 1));
  const rest = probe.arrivals(245 - first.length, 1000);
  assert.equal(rest.length, 245 - first.length, 'the answer goes on to its end');
  assert.deepEqual(probe.arrivals(1, 100), [], 'the second request has no answer');
  assert.equal((await plant.exchanges('line')).length, 1);
  assert.equal((await plant.counts('line')).collisions, 1);
  probe.close();
});

test('a line with echo hands the request back before the answer', async (t) => {
  const { path } = await startLine(t, UNITS, { baud: 115200, hasEcho: true });
  const probe = new Probe(path);
  probe.write(readRequest(1, 1));
  const bytes = probe.arrivals(15, 500).map(({ byte }) => byte);
  assert.deepEqual(bytes.slice(0, 8), [...readRequest(1, 1)]);
  assert.deepEqual(bytes.slice(8, 11), [1, 3, 2]);
  probe.close();
});

test('an unplugged line takes the terminal away, a plugged one is back at the same path', async (t) => {
  const { plant, path } = await startLine(t, UNITS, { baud: 115200 });
  const before = new Probe(path);
  before.write(readRequest(1, 1));
  assert.equal(before.arrivals(7, 500).length, 7);
  await plant.unplug('line');
  assert.throws(() => new Probe(path), { code: 'ENOENT' });
  assert.throws(() => before.write(readRequest(1, 1)), { code: 'EIO' });
  before.close();
  await plant.plugIn('line');
  const after = new Probe(path);
  after.write(readRequest(1, 1));
  assert.equal(after.arrivals(7, 500).length, 7);
  after.close();
});
