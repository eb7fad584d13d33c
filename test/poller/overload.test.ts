/** A line that is asked for more than it can carry, in virtual time: late, told so, and fair. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PollerField } from '../support/pollerfield.js';
import { deviceOf, rtuBusOf, tagOf } from '../support/tags.js';

const RUN_MS = 40_000;
/** The first answers teach what a request costs; the plan is made anew with that. */
const SETTLED_MS = 10_000;

const rates = fc.array(fc.integer({ min: 10, max: 5000 }), { minLength: 2, maxLength: 12 });

async function run(intervalsMs: readonly number[], baud: number): Promise<PollerField> {
  const bus = rtuBusOf(0, baud);
  const devices = [deviceOf(0, bus), deviceOf(1, bus)];
  const tags = intervalsMs.map((intervalMs, index) =>
    // So far apart that each is a request of its own, and none rides along with another.
    tagOf(index, devices[index % 2] ?? assert.fail(), index * 200, { intervalMs, report: 'always' }),
  );
  const field = new PollerField({ bus, devices, tags });
  field.poller.start();
  await field.clock.run(RUN_MS);
  return field;
}

test('no tag starves: each is read within twice the cost of all after it was due, however much is asked', async () => {
  await fc.assert(
    fc.asyncProperty(rates, fc.constantFrom(2400, 9600, 19_200), async (intervalsMs, baud) => {
      const field = await run(intervalsMs, baud);
      const reads = field.line.asked.filter(({ atMs }) => atMs >= SETTLED_MS);
      const costMs = Math.max(...reads.map(({ tookMs }) => tookMs)) * intervalsMs.length;
      for (const [index, intervalMs] of intervalsMs.entries()) {
        const at = field.told
          .filter(({ tag, quality, atMs }) => tag.index === index && quality === 'good' && atMs >= SETTLED_MS)
          .map(({ atMs }) => atMs);
        const gaps = [...at, RUN_MS].map((atMs, i) => atMs - (at[i - 1] ?? SETTLED_MS));
        const most = intervalMs + 2 * costMs;
        assert.ok(Math.max(...gaps) <= most + 1, `tag ${index}: ${Math.max(...gaps)} ms, not ${most}`);
      }
    }),
    { numRuns: 25 },
  );
});

test('overload serves late, says so, and queues nothing', async () => {
  const field = await run([100, 100, 100, 100, 1000, 5000], 2400);
  const { demand, missed, lateness, reads, utilisation, devices } = field.poller.statistics();
  assert.ok(demand > 1, `demand ${demand}`);
  assert.ok(missed > 0 && lateness.count > 0 && lateness.p99Ms > 0);
  // The rest is the silence between frames.
  assert.ok(utilisation > 0.8, `utilisation ${utilisation}`);
  const shares = devices.map((device) => device.utilisation);
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - utilisation) < 0.01, shares.join());
  for (const { requests } of devices)
    for (const request of requests) {
      assert.ok(request.reads > 0 && request.response.p50Ms > 0);
      assert.ok(request.lateness.count > 0);
    }
  // As many reads as fit, and no more were begun.
  const asked = field.line.asked.reduce((sum, { tookMs }) => sum + tookMs, 0);
  assert.ok(reads * (asked / field.line.asked.length) <= RUN_MS);
});
