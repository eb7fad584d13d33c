import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crash } from './crash.js';

const CYCLES = process.env['HOLDFAST_LONG'] === '1' ? 200 : 20;

for (const kind of ['product', 'forgetful'] as const) {
  const how = kind === 'forgetful' ? 'cut off from power' : 'killed';
  test(
    `a broker ${how} at random instants loses nothing it acknowledged and repeats nothing at QoS 2`,
    { timeout: 3_600_000 },
    async (context) => {
      const seed = Date.now() % 1_000_000;
      const report = await crash({ cycles: kind === 'product' ? CYCLES : CYCLES / 2, seed, kind });
      context.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
      assert.deepEqual(report.lost, []);
      assert.deepEqual(report.violations, []);
      assert.ok(
        report.acknowledged > CYCLES * 20,
        `${report.acknowledged} acknowledged: too few to mean anything`,
      );
    },
  );
}
