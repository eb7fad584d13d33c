/** Other masters on a saturated line, in virtual time: what they get, and what they leave to the polls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXCEPTION } from '../../src/modbus/server.js';
import type { VisitAnswer } from '../../src/poller/visitors.js';
import { stampAgeMs } from '../../src/simulator/stamp.js';
import { fieldOf, type FieldShape, type VirtualField } from '../support/virtualfield.js';

const RANGE = Array.from({ length: 60 }, (_, index) => index * 3);
const LINES: readonly (FieldShape & { readonly name: string })[] = [
  { name: '9600 baud', kind: 'rtu', line: { baud: 9600 }, timeout: '500ms', turnaroundMs: 5 },
  { name: '115200 baud', kind: 'rtu', line: { baud: 115_200 }, timeout: '200ms', turnaroundMs: 2 },
  { name: 'TCP', kind: 'tcp', timeout: '500ms', turnaroundMs: 2 },
].map((line) => ({
  ...line,
  kind: line.kind as 'rtu' | 'tcp',
  units: [1, 2, 3],
  addresses: RANGE,
  rate: '50ms',
}));

interface Asked {
  readonly unitId: number;
  readonly address: number;
  readonly quantity: number;
  readonly tookMs: number;
  readonly answer: VisitAnswer;
}

/** A master that asks the next as soon as it has been answered. */
class Greedy {
  readonly asked: Asked[] = [];
  readonly #field: VirtualField;
  #isOver = false;

  constructor(field: VirtualField, unitId: number, quantity: number) {
    this.#field = field;
    void this.#ask(unitId, quantity);
  }

  stop(): void {
    this.#isOver = true;
  }

  async #ask(unitId: number, quantity: number): Promise<void> {
    const { clock, poller } = this.#field;
    for (let address = 200; !this.#isOver; address = 200 + ((address + 7) % 500)) {
      const atMs = clock.monotonicMs();
      const request = { kind: 'read', unitId, table: 'holding-register', address, quantity } as const;
      const answer = await poller.visit(request, () => true);
      this.asked.push({ unitId, address, quantity, tookMs: clock.monotonicMs() - atMs, answer });
    }
  }
}

function samplesOf(field: VirtualField): number {
  return field.goodCounts.reduce((sum, count) => sum + count, 0);
}

for (const line of LINES) {
  test(`on ${line.name} four masters that never rest leave the polls 80 % of their rate, and read what is there`, async () => {
    const field = fieldOf(line, 7);
    await field.clock.run(15_000);
    const before = samplesOf(field);
    await field.clock.run(45_000);
    const alone = samplesOf(field) - before;
    const masters = [
      new Greedy(field, 1, 10),
      new Greedy(field, 2, 1),
      new Greedy(field, 3, 125),
      new Greedy(field, 1, 2),
    ];
    await field.clock.run(60_000);
    const mark = samplesOf(field);
    await field.clock.run(90_000);
    const share = (samplesOf(field) - mark) / alone;
    assert.ok(share >= 0.8, `${share.toFixed(3)} of the polls' rate`);
    assert.deepEqual(field.wrong, []);
    const nowMs = field.clock.nowMs();
    for (const master of masters) {
      master.stop();
      assert.ok(master.asked.length >= 10, `${master.asked.length} answers in 45 s`);
      for (const { answer, unitId, address, quantity } of master.asked) {
        assert.ok(answer instanceof Uint8Array, `exception ${String(answer)}`);
        assert.equal(answer.length, 2 * quantity);
        const word = ((answer[0] ?? 0) << 8) | (answer[1] ?? 0);
        assert.ok(stampAgeMs(word, unitId, address, nowMs) >= 0, 'a value of another register or unit');
      }
    }
  });
}

test('a visit goes at once on an idle line, and waits no longer than one poll on a busy one', async () => {
  for (const rate of ['10s', '50ms']) {
    const field = fieldOf({ ...LINES[0], kind: 'rtu', units: [1, 2, 3], addresses: RANGE, timeout: '500ms', turnaroundMs: 5, rate }, 3); // prettier-ignore
    await field.clock.run(25_000);
    const atMs = field.clock.monotonicMs();
    let tookMs = Infinity;
    void field.poller
      .visit({ kind: 'read', unitId: 1, table: 'holding-register', address: 300, quantity: 2 }, () => true)
      .then(() => (tookMs = field.clock.monotonicMs() - atMs));
    await field.clock.run(atMs + 2000);
    assert.ok(tookMs < (rate === '10s' ? 40 : 400), `${tookMs} ms at ${rate}`);
  }
});

test('a silent unit is answered for with exception 11 at once, an unknown one with 10', async () => {
  const shape = { kind: 'rtu', units: [1, 2], addresses: [0, 1], rate: '500ms', timeout: '300ms', turnaroundMs: 5 } as const; // prettier-ignore
  const field = fieldOf(shape, 5);
  const unit = field.station.units.get(2);
  assert.ok(unit);
  unit.faults = [{ name: 'dead' }];
  await field.clock.run(10_000);
  const answers: VisitAnswer[] = [];
  for (const unitId of [2, 9])
    void field.poller
      .visit({ kind: 'read', unitId, table: 'holding-register', address: 0, quantity: 1 }, () => true)
      .then((answer) => answers.push(answer));
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  assert.deepEqual(answers, [EXCEPTION.targetFailedToRespond, EXCEPTION.pathUnavailable]);
});

test('what nobody waits for any more does not go on the line', async () => {
  const shape = { kind: 'rtu', units: [1], addresses: RANGE, rate: '50ms', timeout: '300ms', turnaroundMs: 5 } as const; // prettier-ignore
  const field = fieldOf(shape, 5);
  await field.clock.run(5000);
  let isWanted = true;
  const visits = [600, 601, 602].map(
    (address) =>
    field.poller.visit({ kind: 'write-registers', unitId: 1, address, registers: Uint8Array.of(0, 1), functionCode: 6 }, () => isWanted), // prettier-ignore
  );
  isWanted = false;
  await field.clock.run(10_000);
  assert.deepEqual(await Promise.all(visits.slice(1)), [EXCEPTION.busy, EXCEPTION.busy]);
  assert.deepEqual(
    field.station.transcript.since(0).filter(({ functionCode }) => functionCode === 6).map(({ address }) => address).filter((address) => address > 600), // prettier-ignore
    [],
  );
});

test('what another master writes is published soon, though its tag is read seldom', async () => {
  const shape = { kind: 'rtu', units: [1], addresses: [0, 10], rate: '60s', timeout: '300ms', turnaroundMs: 5 } as const; // prettier-ignore
  const field = fieldOf(shape, 5);
  await field.clock.run(5000);
  const before = field.goodCounts[1] ?? 0;
  const written = field.poller.visit({ kind: 'write-registers', unitId: 1, address: 10, registers: Uint8Array.of(0, 1), functionCode: 6 }, () => true); // prettier-ignore
  await field.clock.run(5500);
  assert.deepEqual(await written, new Uint8Array(0));
  assert.equal(field.goodCounts[1], before + 1);
});
