import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBroker, type TestBroker } from '../support/broker.js';
import { fuzz, scan } from './fuzz.js';

const isLong = process.env['HOLDFAST_LONG'] !== undefined;
const PACKETS = Number(process.env['HOLDFAST_FUZZ_PACKETS'] ?? (isLong ? 1_000_000 : 12_000));
const SEED = Number(process.env['HOLDFAST_FUZZ_SEED'] ?? 20_261_122);

describe('fuzz', () => {
  let broker: TestBroker | undefined;
  const faults: unknown[] = [];
  const note = (fault: unknown): void => void faults.push(fault);

  before(async () => {
    process.on('unhandledRejection', note);
    broker = await startBroker({
      limits: { maxSessionExpiryS: 1, maxRetainedMessages: 100, maxQueuedMessages: 50 },
    });
  });
  after(async () => {
    process.off('unhandledRejection', note);
    await broker?.close();
  });

  test(
    'mutated packets, split at random, neither stop the broker nor stay in its memory nor touch a healthy client',
    { timeout: 3_600_000 },
    async (context) => {
      assert.ok(broker !== undefined);
      const result = await fuzz(broker, PACKETS, SEED);
      context.diagnostic(`seed ${SEED}: ${JSON.stringify(result)}`);
      assert.ok(result.packets >= PACKETS);
      assert.ok(result.healthyMessages > 10);
      assert.ok(result.heapGrowthBytes < 6 * 1024 * 1024, `heap grew by ${result.heapGrowthBytes}`);
      assert.deepEqual(faults, []);
    },
  );

  test('random bytes before CONNECT are never answered', async () => {
    assert.ok(broker !== undefined);
    await scan(broker, 200, SEED);
    assert.deepEqual(faults, []);
  });
});
