import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFormula } from '../../src/config/formula.js';
import type { Tag } from '../../src/config/plant.js';
import { qualityOf, reasonOf } from '../../src/poller/parcel.js';
import { TagState } from '../../src/poller/report.js';
import { busOf, deviceOf, tagOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0));
const WALL = 1_800_000_000_000;

function stateOf(changes: Partial<Tag> = {}): TagState {
  return new TagState(tagOf(0, device, 0, changes));
}

function take(state: TagState, register: number, atMs: number, wallMs = WALL + atMs): void {
  state.take(Uint8Array.of(register >> 8, register & 0xff), 0, wallMs, atMs);
}

/** Takes a series of polls, a second apart, and gives the values published. */
function published(state: TagState, registers: readonly number[]): unknown[] {
  const told: unknown[] = [];
  for (const [second, register] of registers.entries()) {
    take(state, register, second * 1000);
    if (!state.isDue(second * 1000)) continue;
    state.reported(second * 1000);
    told.push(state.value);
  }
  return told;
}

test('between two reports a value never moves beyond its deadband, and every report was needed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(200), { maxLength: 60 }),
      fc.nat(20),
      fc.boolean(),
      (registers, band, percent) => {
        const deadband = { kind: percent ? 'percent' : 'absolute', value: band } as const;
        const state = stateOf({ deadband, heartbeatMs: 0 });
        let last: number | null = null;
        for (const [second, register] of registers.entries()) {
          take(state, register, second * 1000);
          const width: number = percent ? (band / 100) * Math.abs(last ?? 0) : band;
          const isBeyond: boolean = last === null || Math.abs(register - last) > width * (1 + 1e-9);
          assert.equal(state.isDue(second * 1000), isBeyond);
          if (!isBeyond) continue;
          state.reported(second * 1000);
          last = register;
        }
      },
    ),
  );
});

test('a value that equals its deadband but for rounding is not beyond it', () => {
  const state = stateOf({ scale: 0.1, deadband: { kind: 'absolute', value: 0.2 } });
  assert.deepEqual(published(state, [214, 216, 217]), [21.4, 21.7]);
});

test('64-bit integers are told apart to their last digit, or by their deadband', () => {
  const big = 2n ** 60n;
  const readings = [big, big + 1n, big + 1n, big + 1000n, 7n, 7n, big].map((value) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value);
    return { bytes, value: value === 7n ? 7 : value };
  });
  const told = (value: number): unknown[] => {
    const state = stateOf({ type: 'uint64', quantity: 4, deadband: { kind: 'absolute', value } });
    return readings.flatMap(({ bytes }, second) => {
      state.take(bytes, 0, WALL, second * 1000);
      if (!state.isDue(second * 1000)) return [];
      state.reported(second * 1000);
      return [state.value];
    });
  };
  assert.deepEqual(told(0), [big, big + 1n, big + 1000n, 7, big]);
  assert.deepEqual(told(500), [big, big + 1000n, 7, big]);
});

test('what is calculated may be a 64-bit integer now and a fraction next', () => {
  const formula = parseFormula('run ? energy : 0.5', (name) => ['run', 'energy'].indexOf(name), () => []); // prettier-ignore
  assert.ok(typeof formula !== 'string');
  const [run, energy, state] = [stateOf(), stateOf({ type: 'uint64', quantity: 4 }), stateOf({ formula })];
  state.inputs = [run, energy];
  energy.take(new Uint8Array(8).fill(0x10), 0, WALL, 0);
  const told: unknown[] = [];
  for (const [second, register] of [1, 0, 0, 1].entries()) {
    take(run, register, second * 1000);
    assert.ok(state.calculate());
    if (!state.isDue(second * 1000)) continue;
    state.reported(second * 1000);
    told.push(state.value);
  }
  assert.deepEqual(told, [0x1010_1010_1010_1010n, 0.5, 0x1010_1010_1010_1010n]);
});

test('a deadband says nothing of names', () => {
  const names = [
    { raw: 1, text: 'on' },
    { raw: 2, text: 'off' },
  ];
  const state = stateOf({ enum: names, deadband: { kind: 'absolute', value: 10 } });
  assert.deepEqual(published(state, [1, 1, 2, 1]), ['on', 'off', 'on']);
});

test('a heartbeat reports a value that stands still, as often as it asks', () => {
  const state = stateOf({ heartbeatMs: 10_000 });
  assert.equal(published(state, Array<number>(61).fill(5)).length, 7);
  assert.equal(published(stateOf({ heartbeatMs: 0 }), Array<number>(61).fill(5)).length, 1);
  assert.equal(published(stateOf({ report: 'always' }), Array<number>(61).fill(5)).length, 61);
});

test('a change of quality is reported, and a bad value is null', () => {
  const state = stateOf();
  take(state, 5, 0);
  state.reported(0);
  state.fail('timeout', WALL + 1000);
  assert.ok(state.isDue(1000));
  assert.equal(state.value, null);
  assert.deepEqual([qualityOf(state.code), reasonOf(state.code)], ['bad', 'timeout']);
  state.reported(1000);
  state.fail('offline', WALL + 2000);
  assert.ok(state.isDue(2000), 'another reason is news too');
  state.reported(2000);
  take(state, 5, 3000);
  assert.ok(state.isDue(3000));
  assert.equal(qualityOf(state.code), 'good');
});

test('a stale value keeps the time of its answer', () => {
  const state = stateOf();
  take(state, 5, 0);
  state.age('timeout');
  assert.deepEqual([state.value, state.timeMs, qualityOf(state.code)], [5, WALL, 'stale']);
});

test('what the device calls not available is bad and null; what nobody can believe is uncertain', () => {
  const missing = stateOf({ invalid: [0xffff] });
  take(missing, 0xffff, 0);
  assert.deepEqual(
    [missing.value, qualityOf(missing.code), reasonOf(missing.code)],
    [null, 'bad', 'invalid'],
  );
  const odd = stateOf({ plausible: { min: 0, max: 100, maxPerSecond: 10 } });
  take(odd, 101, 0);
  assert.deepEqual([odd.value, qualityOf(odd.code), reasonOf(odd.code)], [101, 'uncertain', 'implausible']);
  take(odd, 50, 1000);
  take(odd, 70, 2000);
  assert.equal(qualityOf(odd.code), 'uncertain', '20 in a second');
  const counter = stateOf({
    plausible: { min: 0, max: 65535, maxPerSecond: 10 },
    counter: { modulo: 65536 },
  });
  take(counter, 65534, 0);
  take(counter, 3, 1000);
  assert.equal(qualityOf(counter.code), 'good', 'it rolled over');
  const unknown = stateOf({ enum: [{ raw: 1, text: 'on' }] });
  take(unknown, 1, 0);
  assert.deepEqual([unknown.value, qualityOf(unknown.code)], ['on', 'good']);
  take(unknown, 9, 1000);
  assert.deepEqual([unknown.value, qualityOf(unknown.code)], [9, 'uncertain']);
});

test('values read before the clock was set are uncertain', () => {
  const state = stateOf();
  take(state, 5, 0, 1000);
  assert.deepEqual([qualityOf(state.code), reasonOf(state.code)], ['uncertain', 'clock']);
  take(state, 5, 1000);
  assert.equal(qualityOf(state.code), 'good');
});

test('a factor that lives in another register is taken from it, and without it there is no value', () => {
  const factor = stateOf({ type: 'int16' });
  const state = new TagState(tagOf(1, device, 1, { scaleFrom: { kind: 'pow10', tag: 0 } }));
  state.scaleTag = factor;
  take(state, 1234, 0);
  assert.equal(state.value, null);
  take(factor, 0xfffe, 0);
  take(state, 1234, 0);
  assert.equal(state.value, 12.34);
});

test('a factor that was read before the clock was set is a factor all the same', () => {
  const factor = stateOf({ type: 'int16' });
  const state = new TagState(tagOf(1, device, 1, { scaleFrom: { kind: 'pow10', tag: 0 } }));
  state.scaleTag = factor;
  take(factor, 0xfffe, 0, 1000);
  take(state, 1234, 0, 1000);
  assert.deepEqual([state.value, qualityOf(state.code), reasonOf(state.code)], [12.34, 'uncertain', 'clock']);
  take(state, 1234, 1000);
  assert.deepEqual([state.value, qualityOf(state.code)], [12.34, 'good']);
});

test('a counter with a factor rolls over at as many times its factor', () => {
  const factor = stateOf();
  const plausible = { min: 0, max: 1e9, maxPerSecond: 1000 };
  const scaleFrom = { kind: 'value', tag: 0 } as const;
  const counter = new TagState(tagOf(1, device, 1, { scaleFrom, plausible, counter: { modulo: 65536 } }));
  counter.scaleTag = factor;
  take(factor, 100, 0);
  take(counter, 65534, 0);
  take(counter, 3, 1000);
  assert.deepEqual([counter.value, qualityOf(counter.code)], [300, 'good']);
});
