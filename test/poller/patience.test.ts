/** How long units are waited for where others wait behind them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus } from '../../src/config/plant.js';
import { Knowledge } from '../../src/poller/knowledge.js';
import { Patience } from '../../src/poller/patience.js';
import { TagState } from '../../src/poller/report.js';
import { Unit } from '../../src/poller/unit.js';
import { busOf, deviceOf, rtuBusOf, tagOf } from '../support/tags.js';

/** Two units that answered in that time until now. */
function unitsOf(bus: Bus, responseMs = 15): readonly [Unit, Unit] {
  const unit = (index: number): Unit => {
    const device = deviceOf(index, bus);
    const made = new Unit(device, [new TagState(tagOf(index, device, 0))], [], new Knowledge(), () => 0.5);
    for (let i = 0; i < 8; i += 1) {
      made.latency.add(responseMs);
      made.answered();
    }
    return made;
  };
  return [unit(0), unit(1)];
}

test('a gateway that works off its queue is given the whole time, as giving up early only makes others late', () => {
  const bus = busOf(0, { timeoutMs: 1500 });
  const units = unitsOf(bus);
  const [silent, other] = units;
  const patience = new Patience(bus, units, 0);
  assert.ok(patience.thinkMs(other) < 200);
  // The silent one is given up, and what is asked behind it is answered, but late.
  patience.missed(silent, 1000);
  patience.missed(other, 1200);
  patience.cameLate(other.device.unitId, 2050);
  for (const unit of units) assert.equal(patience.thinkMs(unit), 1500);
  assert.equal(patience.probeThinkMs(silent), 1500);
});

test('who is late himself, or long after another was silent, or on a line, says nothing of a queue', () => {
  const cases: [bus: Bus, silentAtMs: number, lateAtMs: number][] = [
    [busOf(0, { timeoutMs: 1500 }), NaN, 5000],
    [busOf(0, { timeoutMs: 1500 }), 1000, 5000],
    [rtuBusOf(0, 9600, { timeoutMs: 1500 }), 4900, 5000],
  ];
  for (const [bus, silentAtMs, lateAtMs] of cases) {
    const units = unitsOf(bus);
    const [silent, other] = units;
    const patience = new Patience(bus, units, 0);
    if (!Number.isNaN(silentAtMs)) patience.missed(silent, silentAtMs);
    patience.missed(other, lateAtMs);
    patience.cameLate(other.device.unitId, lateAtMs + 400);
    assert.ok(patience.thinkMs(silent) < 200);
  }
});

test('a link that stood still for a while has no queue, and nobody behind it is held for silent', () => {
  const bus = busOf(0, { timeoutMs: 1500 });
  const units = unitsOf(bus);
  const [first, second] = units;
  const patience = new Patience(bus, units, 0);
  patience.missed(first, 1000);
  patience.missed(second, 1200);
  patience.missed(first, 1400);
  // All that was asked meanwhile is answered at once, in its order.
  patience.cameLate(first.device.unitId, 2600);
  patience.cameLate(second.device.unitId, 2600);
  patience.heard(2620);
  for (const unit of units) assert.ok(patience.probeThinkMs(unit) < 200);
});

test('that a gateway waits for silent units is forgotten in time, and later when it is seen again', () => {
  const bus = busOf(0, { timeoutMs: 1500 });
  const units = unitsOf(bus);
  const [silent, other] = units;
  const patience = new Patience(bus, units, 0);
  const seenAt = (nowMs: number): void => {
    patience.missed(silent, nowMs);
    patience.missed(other, nowMs + 200);
    patience.cameLate(other.device.unitId, nowMs + 1000);
  };
  const isQueueAt = (nowMs: number): boolean => {
    patience.heard(nowMs);
    return patience.probeThinkMs(silent) === 1500;
  };
  seenAt(1000);
  assert.ok(isQueueAt(60_000));
  assert.ok(!isQueueAt(63_000));
  seenAt(100_000);
  assert.ok(isQueueAt(300_000));
  assert.ok(!isQueueAt(342_000));
});

test('what is asked behind a silent unit is given the time that its gateway goes on waiting for that one', () => {
  const bus = busOf(0, { timeoutMs: 500 });
  const units = unitsOf(bus);
  const [silent, other] = units;
  const patience = new Patience(bus, units, 0);
  patience.missed(silent, 1000);
  other.breaker.failed(2000);
  patience.missed(other, 1500);
  patience.cameLate(other.device.unitId, 3000);
  // That it came late is not its own doing.
  assert.equal(other.breaker.failures, 0);
  assert.equal(patience.queueMs(3000), 0);
  patience.missed(silent, 4000);
  assert.equal(patience.queueMs(4500), 1500);
  // A second silent one stands behind the first.
  patience.missed(silent, 4500);
  assert.equal(patience.queueMs(6500), 1500);
  // Whoever is answered before shows that the gateway does not wait any more, nor as long.
  patience.heard(7000);
  assert.equal(patience.queueMs(7000), 0);
  patience.missed(silent, 8000);
  assert.equal(patience.queueMs(8000), 1000);
});

test('long probes of silent units take less than a tenth of a line whose units are slow', () => {
  const bus = rtuBusOf(0, 9600);
  const [silent, other] = unitsOf(bus, 300);
  const patience = new Patience(bus, [silent, other], 0);
  for (let count = 0; count < 3; count += 1) silent.breaker.failed(0);
  let probedMs = 0;
  for (let nowMs = 0; nowMs < 600_000; nowMs += 10) {
    silent.breaker.probeNow(nowMs);
    if (patience.probeReadyMs(silent, nowMs) > nowMs) continue;
    nowMs += 400;
    probedMs += 400;
    patience.probed(silent, 400, 1, nowMs);
  }
  assert.ok(probedMs < 60_000, `${probedMs} of 600000 ms`);
  assert.ok(probedMs > 24_000, 'and a unit that is back is noticed soon all the same');
});

test('a unit of which nothing is known is not given the whole time when its neighbours answer soon', () => {
  const bus = busOf(0, { timeoutMs: 1500 });
  const units = unitsOf(bus);
  const device = deviceOf(2, bus);
  const state = new TagState(tagOf(2, device, 0));
  const unknown = new Unit(device, [state], [], new Knowledge(), () => 0.5);
  assert.ok(new Patience(bus, [...units, unknown], 0).thinkMs(unknown) < 300);
  assert.equal(new Patience(bus, [unknown], 0).thinkMs(unknown), 1500);
});

test('when the first of a line on which all were silent is back the others are asked at once', () => {
  const bus = rtuBusOf(0, 9600);
  const [first, second] = unitsOf(bus);
  const [third] = unitsOf(bus);
  const patience = new Patience(bus, [first, second, third], 0);
  const fallSilent = ({ breaker }: Unit): void => {
    for (let count = 0; count < 20; count += 1) breaker.failed(0);
  };
  fallSilent(second);
  fallSilent(first);
  first.breaker.succeeded();
  // The third was there all the time: that the first is back says nothing of the second.
  patience.back(first, 0);
  assert.ok(patience.probeReadyMs(second, 0) > 0);
  fallSilent(third);
  patience.back(first, 0);
  for (const unit of [second, third]) assert.equal(patience.probeReadyMs(unit, 0), 0);
});
