import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Timekeeping } from '../../src/broker/timekeeping.js';
import { steadyClock } from '../../src/clock.js';
import type { Store, StoreRecord } from '../../src/store/store.js';
import { startBroker, type TestBroker } from '../support/broker.js';
import { ManualClock } from '../support/clock.js';
import { MemoryDisk } from '../support/memorydisk.js';
import { MqttClient } from '../support/mqttclient.js';
import { ShiftedClock } from '../support/shiftedclock.js';
import { opened, published, storeOn } from '../support/stores.js';
import { PROPERTY, propertyOf } from '../support/wire.js';

const NOW_MS = Date.now();
const DAY_S = 86_400;
const FIVE_DAYS_MS = 5 * DAY_S * 1000;
const KEPT = { clientId: 'away', clean: false, properties: [[PROPERTY.sessionExpiry, DAY_S]] } as const;

async function enter(context: TestContext, server: TestBroker): Promise<MqttClient> {
  const client = await MqttClient.open(server.mqtt, 5);
  context.after(() => client.cut());
  return client;
}

async function start(context: TestContext, disk: MemoryDisk, clock: ShiftedClock): Promise<TestBroker> {
  const server = await startBroker({ store: storeOn(disk), clock, systemIntervalMs: 0 });
  context.after(() => server.close());
  return server;
}

for (const [when, bootMs, setMs, againMs] of [
  ['was always right', NOW_MS, NOW_MS, NOW_MS],
  ['was set from 1970', 120_000, NOW_MS, NOW_MS],
  ['was set from five days back', NOW_MS - FIVE_DAYS_MS, NOW_MS, NOW_MS],
  ['was set back by five days', NOW_MS + FIVE_DAYS_MS, NOW_MS, NOW_MS],
  ['is not set after the restart', NOW_MS, NOW_MS, 120_000],
  ['is set before no start', 120_000, NOW_MS, 120_000],
] as const) {
  for (const [how, isKilled] of [
    ['stopped', false],
    ['killed', true],
  ] as const) {
    test(`the clock ${when}: what is kept over being ${how} expires after the time it was given`, async (context) => {
      const disk = new MemoryDisk();
      const clock = new ShiftedClock(bootMs);
      const server = await start(context, disk, clock);
      clock.jump(setMs - bootMs);
      const away = await enter(context, server);
      await away.handshake(KEPT);
      await away.subscribe('a/#', 1);
      await away.disconnect();
      const publisher = await enter(context, server);
      await publisher.handshake({ clientId: 'publisher' });
      const say = async (text: string, seconds: number, retain = false): Promise<void> => {
        const properties = [[PROPERTY.messageExpiry, seconds]] as const;
        await publisher.publish(retain ? 'r' : 'a/b', text, { qos: 1, retain, properties });
      };
      await say('long', DAY_S);
      await say('short', 60);
      await say('retained', DAY_S, true);
      await say('retained short', 60, true);
      await say('retained', DAY_S, true);
      clock.pass(100_000);
      await say('last', DAY_S);
      const left = isKilled ? disk.afterKill() : disk;
      if (!isKilled) await server.close();

      const again = await start(context, left, new ShiftedClock(againMs + 100_000));
      const back = await enter(context, again);
      const { sessionPresent } = (await back.handshake(KEPT)) as { sessionPresent?: boolean };
      assert.equal(sessionPresent, true);
      await back.subscribe('r', 1);
      const leftS = new Map<string, number>();
      for (let count = 0; count < 3; count++) {
        const message = await back.receive();
        const seconds = propertyOf(message, PROPERTY.messageExpiry);
        leftS.set(Buffer.from((message as { payload: Uint8Array }).payload).toString(), Number(seconds));
      }
      await back.quiet();
      assert.deepEqual([...leftS.keys()].sort(), ['last', 'long', 'retained']);
      for (const [text, seconds] of leftS) {
        const passedS = text === 'last' ? 0 : 100;
        assert.ok(seconds <= DAY_S - passedS && seconds > DAY_S - passedS - 30, `${text}: ${seconds} s`);
      }
    });
  }
}

test('a jump is noted though nothing else happens, so that the next process takes it for no time that passed', async () => {
  const disk = new MemoryDisk();
  const clock = new ManualClock();
  const store = storeOn(disk);
  const timekeeping = new Timekeeping(steadyClock(clock), store);
  timekeeping.start((await store.open()).clock);
  store.append(opened(1));
  timekeeping.endTurn();
  const startMs = clock.nowMs();
  clock.advance(500);
  clock.jump(FIVE_DAYS_MS);
  clock.advance(1000);
  await store.commit();
  const next = storeOn(disk.afterKill());
  const noted = (await next.open()).clock;
  assert.deepEqual(noted, { nowMs: startMs + 1000, wallMs: startMs + 1000 + FIVE_DAYS_MS });
  const steady = steadyClock(new ManualClock(startMs + 60_000 + FIVE_DAYS_MS));
  new Timekeeping(steady, next).start(noted);
  assert.equal(steady.nowMs(), startMs + 60_000);
  timekeeping.stop();
  await store.close();
  await next.close();
});

test('the reading is in the snapshot, too', async () => {
  const disk = new MemoryDisk();
  const store = storeOn(disk);
  await store.open();
  const reading = { nowMs: 1_700_000_000_000, wallMs: 1_800_000_000_000 };
  store.append(opened(1));
  store.append({ type: 'ClockRead', ...reading });
  await store.archive({ write: async () => {} });
  for (let position = 1; position <= 3; position++) store.append(published(position, [1]));
  await store.close();
  const again = storeOn(disk);
  assert.deepEqual((await again.open()).clock, reading);
  await again.close();
});

test('the clock is noted once a second while facts come in, and ever more rarely in a silence', () => {
  const clock = new ManualClock();
  const startMs = clock.nowMs();
  const noted: number[] = [];
  const store = {
    isLasting: true,
    isHealthy: true,
    isClockDue: false,
    append(record: StoreRecord): void {
      if (record.type === 'ClockRead') noted.push((record.nowMs - startMs) / 1000);
      this.isClockDue = record.type !== 'ClockRead';
    },
  };
  // Of a Store it uses no more than this.
  const timekeeping = new Timekeeping(steadyClock(clock), store as unknown as Store);
  timekeeping.start(null);
  clock.advance(3_600_000);
  assert.deepEqual(noted, [], 'nothing is in the store');
  for (let turn = 0; turn < 29; turn++) {
    store.append(opened(1));
    timekeeping.endTurn();
    clock.advance(100);
  }
  assert.deepEqual(noted, [3600, 3601, 3602]);
  clock.advance(100_000);
  assert.deepEqual(noted.slice(3), [3603, 3605, 3609, 3617, 3633, 3665]);
  clock.advance(500);
  timekeeping.stop();
  assert.equal(noted.at(-1), 3703.4);
});
