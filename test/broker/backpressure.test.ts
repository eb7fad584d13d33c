import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backpressure } from '../../src/broker/backpressure.js';
import { CLIENT_PACKETS, Framer } from '../../src/broker/framer.js';
import { DEFAULT_LIMITS } from '../../src/broker/limits.js';
import { Outbox } from '../../src/broker/outbox.js';
import { Rates } from '../../src/broker/rates.js';
import { ManualClock } from '../support/clock.js';
import { coreOn } from '../support/core.js';
import { startBroker } from '../support/broker.js';
import { MqttClient } from '../support/mqttclient.js';
import { until } from '../support/wait.js';
import * as wire from '../support/wire.js';

/** One client, whose kernel takes what it is told to take; `said` is what the transport was told. */
function reading() {
  const clock = new ManualClock();
  const core = coreOn(clock);
  const said: string[] = [];
  const transport = {
    pendingBytes: 0,
    write: () => true,
    pause: () => said.push('pause'),
    resume: () => said.push('resume'),
    end: () => {},
    destroy: () => {},
  };
  const handled = { isDone: true };
  const framer = new Framer({ frame: () => handled.isDone }, CLIENT_PACKETS, 1000);
  const outbox = new Outbox(transport, core.turns.arena, {
    becameDirty: () => {},
    beforeFlush: () => {},
    wrote: () => {},
  });
  const again = { count: 0 };
  const backpressure = new Backpressure(core, transport, framer, outbox, {
    readsAgain: () => void again.count++,
  });
  return { clock, core, said, transport, handled, framer, backpressure, again };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('who does not read what is owed to him is not read from until he has', () => {
  const { core, said, transport, backpressure } = reading();
  transport.pendingBytes = core.readStopBytes;
  backpressure.afterRead(1);
  assert.deepEqual(said, [], 'so much may wait');
  transport.pendingBytes = core.readStopBytes + 1;
  backpressure.afterRead(1);
  backpressure.afterRead(1);
  assert.deepEqual(said, ['pause'], 'once');
  backpressure.drained();
  assert.deepEqual(said, ['pause'], 'it waits still');
  transport.pendingBytes = 0;
  backpressure.drained();
  assert.deepEqual(said, ['pause', 'resume']);
});

test('what follows a packet that is thought about waits with the sender', () => {
  const { said, handled, framer, backpressure } = reading();
  handled.isDone = false;
  framer.push(wire.PINGREQ, 0, wire.PINGREQ.length);
  backpressure.afterRead(wire.PINGREQ.length);
  assert.deepEqual(said, ['pause']);
  framer.resume();
  backpressure.drained();
  assert.deepEqual(said, ['pause', 'resume']);
});

test('answers that wait for a disk that does not keep up hold the client back, until the last of them', () => {
  const { core, said, backpressure } = reading();
  let isBacklogged = true;
  Object.defineProperty(core.turns, 'isBacklogged', { get: () => isBacklogged });
  backpressure.afterRead(1);
  assert.deepEqual(said, [], 'this client waits for nothing');
  backpressure.owedCount = 2;
  backpressure.afterRead(1);
  assert.deepEqual(said, ['pause']);
  assert.ok(backpressure.isAwaitingDisk);
  assert.equal(backpressure.settled(), false);
  assert.equal(backpressure.settled(), true);
  isBacklogged = false;
  backpressure.drained();
  assert.deepEqual(said, ['pause', 'resume']);
  assert.ok(!backpressure.isAwaitingDisk);
});

test('who is over his rate is read from again when he has paid for it, whatever else is over by then', async () => {
  const { clock, said, transport, core, backpressure } = reading();
  backpressure.rates = Rates.of({ ...DEFAULT_LIMITS, bytesPerSecond: 1000 }, clock);
  backpressure.afterRead(5000);
  assert.deepEqual(said, [], 'a burst of five seconds is free');
  await turn();
  backpressure.afterRead(2000);
  assert.deepEqual(said, ['pause']);
  transport.pendingBytes = core.readStopBytes + 1;
  backpressure.afterRead(0);
  transport.pendingBytes = 0;
  backpressure.drained();
  assert.equal(said.filter((word) => word === 'resume').length, 0, 'the rate still holds');
  clock.advance(2000);
  assert.equal(said.at(-1), 'resume');
});

test('nothing is read any more once the connection is closed', () => {
  const { clock, said, transport, core, backpressure } = reading();
  backpressure.rates = Rates.of({ ...DEFAULT_LIMITS, bytesPerSecond: 1 }, clock);
  transport.pendingBytes = core.readStopBytes + 1;
  backpressure.afterRead(100);
  said.length = 0;
  backpressure.end();
  transport.pendingBytes = 0;
  backpressure.drained();
  clock.advance(60_000);
  assert.deepEqual(said, []);
});

test('who is not read from is silent through no fault of his, unless he takes nothing of what is owed to him', () => {
  const { clock, core, transport, backpressure, again } = reading();
  assert.ok(!backpressure.isHolding(), 'it is read from');
  transport.pendingBytes = core.readStopBytes + 2;
  backpressure.afterRead(1);
  clock.advance(59_000);
  assert.ok(backpressure.isHolding());
  transport.pendingBytes -= 1;
  assert.ok(backpressure.isHolding(), 'it has taken a byte');
  clock.advance(59_000);
  assert.ok(backpressure.isHolding());
  clock.advance(1000);
  assert.ok(!backpressure.isHolding(), 'and nothing for a minute');
  assert.equal(again.count, 0);
  transport.pendingBytes = 0;
  backpressure.drained();
  assert.equal(again.count, 1, 'its silence begins now');
  assert.ok(!backpressure.isHolding());
  backpressure.rates = Rates.of({ ...DEFAULT_LIMITS, bytesPerSecond: 1000 }, clock);
  backpressure.afterRead(7000);
  assert.ok(backpressure.isHolding(), 'it pays for what it sent');
  clock.advance(10_000);
  assert.equal(again.count, 2);
  assert.ok(!backpressure.isHolding());
});

test('who pings is not cut while his rate holds him back, nor while he reads slowly', async (context) => {
  const { mqtt, broker, close } = await startBroker({
    limits: { messagesPerSecond: 10, maxOutboxBytes: 64 << 20 },
  });
  context.after(close);
  const open = async (clientId: string): Promise<MqttClient> => {
    const client = await MqttClient.open(mqtt, 5);
    context.after(() => client.socket.destroy());
    await client.handshake({ clientId, keepAliveS: 1 });
    return client;
  };
  const rated = await open('rated');
  const slow = await open('slow');
  await slow.subscribe('a');
  slow.socket.pause();
  const payload = Buffer.alloc(8192);
  for (let i = 0; i < 1500; i++)
    broker?.publish({ topic: 'a', payload, qos: 0, retain: false, sender: null });
  const pinging = setInterval(() => {
    for (const client of [rated, slow]) client.send(wire.PINGREQ);
    slow.socket.read();
  }, 100);
  context.after(() => clearInterval(pinging));
  // Five seconds' worth is free, and three more must be waited for.
  rated.send(...Array.from({ length: 80 }, () => wire.publish(5, { topic: 'b' })));
  await rated.ping();
  await until('what comes behind it', () => rated.history.length > 10);
  slow.socket.resume();
  await slow.ping();
  assert.deepEqual([rated.isClosed, slow.isClosed], [false, false]);
});
