/**
 * Never a wrong value: the real poller, client and transports on units that misbehave, in virtual time. Every register
 * says its unit, its address and the time, so each published value is checked. The long form runs a million exchanges.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Random } from '../../src/simulator/random.js';
import { ANSWER_FAULTS, type FaultSpec } from '../../src/simulator/spec.js';
import { fieldOf, type FieldShape, type VirtualField } from '../support/virtualfield.js';

const isLong = process.env['HOLDFAST_LONG'] === '1';
/** Exchanges of each fault on each kind of bus. */
const EXCHANGES = isLong ? 5000 : 500;
const POLL_MS = 200;
const TIMEOUT_MS = 300;

/** Two blocks of the same length on each unit: their answers look alike. */
const ADDRESSES = Array.from({ length: 40 }, (_, index) => (index < 20 ? index : 180 + index));

const LINKS: readonly (Pick<FieldShape, 'kind' | 'inFlight' | 'line'> & { readonly name: string })[] = [
  { name: 'rtu', kind: 'rtu', line: { baud: 115200 } },
  { name: 'ascii', kind: 'ascii', line: { baud: 115200 } },
  { name: 'rtu-over-tcp', kind: 'rtu-over-tcp' },
  { name: 'rtu-over-tcp with a line behind it', kind: 'rtu-over-tcp', line: { baud: 38400 } },
  { name: 'ascii-over-tcp', kind: 'ascii-over-tcp' },
  { name: 'tcp', kind: 'tcp' },
  { name: 'tcp, four in flight', kind: 'tcp', inFlight: 4 },
  { name: 'tcp, eight in flight', kind: 'tcp', inFlight: 8 },
  { name: 'udp', kind: 'udp' },
  { name: 'udp, four in flight', kind: 'udp', inFlight: 4 },
];

/** What may strike any answer: each fault in its usual form, and lateness and repetition of every measure. */
const MIXED: readonly FaultSpec[] = [
  ...[30, 45, 60, 90, 150, 299, 301, 450, 900].map(
    (ms) => ({ name: 'late', probability: 0.01, ms }) as const,
  ),
  ...[5, 15, 25, 40].map((ms) => ({ name: 'slow', probability: 0.03, ms }) as const),
  ...[2, 10, 40].map((ms) => ({ name: 'duplicate', probability: 0.02, ms }) as const),
  ...ANSWER_FAULTS.map((name) => fault(name, 0.03)),
];

/** Answers that come twice and answers that look like those to other questions, so that they meet. */
const CONFUSED: readonly FaultSpec[] = [
  ...[2, 10, 40].map((ms) => ({ name: 'duplicate', probability: 0.1, ms }) as const),
  fault('wrong-count', 0.3),
  { name: 'slow', probability: 0.1, ms: 15 },
  { name: 'late', probability: 0.05, ms: 60 },
];

function fieldAt(
  link: (typeof LINKS)[number],
  seed: number,
  { pollMs = POLL_MS, turnaroundMs = 3 } = {},
): VirtualField {
  const shape = { units: [1, 2, 3, 4], addresses: ADDRESSES, turnaroundMs };
  return fieldOf({ ...shape, ...link, rate: `${pollMs}ms`, timeout: `${TIMEOUT_MS}ms` }, seed);
}

/** A few faults, each as often and of as much as chance says. */
function drawn(random: Random): FaultSpec[] {
  return Array.from({ length: 2 + random.below(6) }, () => {
    const name = ANSWER_FAULTS[random.below(ANSWER_FAULTS.length)] ?? 'silent';
    const most = { late: 1000, slow: 80, duplicate: 60, split: 20 }[name as string];
    const probability = 0.02 + random.next() * 0.25;
    return { name, probability, ...(most === undefined ? {} : { ms: 1 + random.below(most) }) };
  });
}

function fault(name: FaultSpec['name'], probability: number): FaultSpec {
  return name === 'late' ? { name, probability, ms: TIMEOUT_MS + 100 } : { name, probability };
}

async function misbehave(
  t: TestContext,
  field: VirtualField,
  faults: readonly FaultSpec[],
  exchanges: number,
): Promise<void> {
  const from = field.transactions;
  for (const unit of field.station.units.values()) unit.faults = faults;
  await field.clock.run(Infinity, () => field.transactions - from >= exchanges || field.wrong.length > 0);
  for (const unit of field.station.units.values()) unit.faults = [];
  t.diagnostic(`${field.transactions - from} exchanges, ${field.wrong.length} wrong values`);
}

for (const link of LINKS) {
  const isLine = link.kind !== 'tcp' && link.kind !== 'udp';

  test(`half of all answers faulty on ${link.name}: no wrong value, and all tags come back`, async (t) => {
    for (const name of ANSWER_FAULTS) {
      const field = fieldAt(link, 11);
      await field.clock.run(3000);
      assert.ok(
        field.goodCounts.every((count) => count > 5),
        'all is well before',
      );
      await misbehave(t, field, [fault(name, 0.5)], EXCHANGES);
      const clearedAtMs = field.clock.monotonicMs();
      const isBack = (): boolean => field.goodAtMs.every((atMs) => atMs > clearedAtMs);
      await field.clock.run(clearedAtMs + 30_000, isBack);
      assert.ok(isBack(), `${name}: every tag is read again`);
      assert.deepEqual(field.wrong.slice(0, 3), [], `${name}: ${field.wrong.length} wrong values`);
      if (isLine) assert.equal(field.station.transcript.counts.silenceViolations, 0);
    }
  });

  test(`faults of every sort and number on ${link.name}, units quick and slow, polls rare and flat out: no wrong value`, async (t) => {
    for (let seed = 100; seed < (isLong ? 150 : 103); seed += 1) {
      const random = new Random(seed);
      const field = fieldAt(link, seed, { pollMs: [15, 50, 200][seed % 3], turnaroundMs: random.below(30) });
      const faults = seed % 5 === 0 ? CONFUSED : drawn(random);
      await field.clock.run(3000);
      await misbehave(t, field, faults, 400);
      assert.deepEqual(field.wrong.slice(0, 3), [], `seed ${seed}: ${JSON.stringify(faults)}`);
    }
  });

  test(`what comes twice meets what looks like another answer, polled flat out on ${link.name}: no wrong value`, async (t) => {
    const field = fieldAt(link, 2, { pollMs: 15 });
    await field.clock.run(3000);
    // Without silence between frames, as in ASCII behind a converter, they meet most easily.
    const exchanges = link.name === 'ascii-over-tcp' ? 5000 : 1500;
    await misbehave(t, field, CONFUSED, isLong ? 20_000 : exchanges);
    assert.deepEqual(field.wrong.slice(0, 3), [], `${field.wrong.length} wrong values`);
  });

  test(`all faults at random on ${link.name}: no wrong value`, async (t) => {
    for (const seed of isLong ? [12, 13, 14, 15] : [12]) {
      const field = fieldAt(link, seed);
      await field.clock.run(3000);
      await misbehave(t, field, MIXED, isLong ? 25_000 : 5000);
      assert.deepEqual(field.wrong.slice(0, 3), [], `${field.wrong.length} wrong values`);
    }
  });
}
