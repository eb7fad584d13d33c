/**
 * Thread entry: one Poller for each bus of its shard, all telling through one outbox. What goes wrong beyond
 * expectation ends the thread; the pool starts another.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.js';
import { createClient } from '../modbus/client.js';
import type { FromWorker, ToWorker, WorkerData } from './messages.js';
import { Outbox } from './outbox.js';
import { COMMAND_CODE, ParcelReader } from './parcel.js';
import { Poller, type PollerEvents } from './poller.js';

/** A parcel leaves at once when none left lately; under load each carries what came within this time. */
const FLUSH_MS = 10;
const STATISTICS_MS = 10_000;

if (parentPort === null) throw new Error('worker.js runs as a worker thread of the pool');
const port = parentPort;
// The pool is the only one who starts this file, and these are its types.
const shard = workerData as WorkerData;

const tell = (message: FromWorker): void => port.postMessage(message);

let flushedAtMs = 0;
const outbox = new Outbox({
  clock: systemClock,
  bufferCount: shard.bufferCount,
  bufferBytes: shard.bufferBytes,
  post: (buffer, isPooled) => {
    port.postMessage({ kind: 'parcel', buffer, isPooled } satisfies FromWorker, [buffer]);
  },
  defer: (flush) => {
    const leftMs = flushedAtMs + FLUSH_MS - systemClock.monotonicMs();
    const run = (): void => {
      flushedAtMs = systemClock.monotonicMs();
      flush();
    };
    if (leftMs <= 0) setImmediate(run);
    else setTimeout(run, leftMs);
  },
});

const events: PollerEvents = {
  deviceChanged: (deviceIndex, state, sinceMs, error) =>
    tell({ kind: 'device', deviceIndex, state, sinceMs, error }),
  busChanged: (busIndex, isUp, error) => tell({ kind: 'bus', busIndex, isUp, error }),
  event: (event, fields) => tell({ kind: 'event', event, fields }),
  learned: (device, record) => tell({ kind: 'learned', deviceIndex: device.index, record }),
};

const pollers = shard.buses.map(
  (bus) =>
    new Poller({
      bus,
      devices: shard.devices.filter((device) => device.bus === bus),
      tags: shard.tags.filter((tag) => tag.device.bus === bus),
      batches: shard.batches.filter((batch) => batch.device.bus === bus),
      clock: systemClock,
      random: Math.random,
      sink: outbox,
      events,
      connect: (listener) =>
        createClient(bus, listener, systemClock, () => {
          const serialPort = shard.serialPorts.get(bus.index);
          if (serialPort === undefined) throw new Error(`bus ${bus.name}: no port was handed over`);
          return serialPort;
        }),
      knowledgeOf: (device) => shard.knowledge.get(device.index),
    }),
);

const pollerOfTag = new Map<number, Poller>();
for (const tag of shard.tags) {
  const poller = pollers.find(({ bus }) => bus === tag.device.bus);
  if (poller !== undefined) pollerOfTag.set(tag.index, poller);
}

function takeCommands(buffer: ArrayBuffer): void {
  const reader = new ParcelReader(buffer);
  const nowMs = systemClock.monotonicMs();
  const wallMs = systemClock.nowMs();
  while (reader.next()) {
    pollerOfTag.get(reader.index)?.command(
      {
        kind: reader.code === COMMAND_CODE.read ? 'read' : 'write',
        correlation: reader.correlation,
        // Wall time may jump while the command waits.
        deadlineMs: nowMs + reader.timeMs - wallMs,
        payload: reader.payload,
      },
      reader.index,
    );
  }
}

async function stop(): Promise<void> {
  clearInterval(statisticsTimer);
  await Promise.all(pollers.map((poller) => poller.stop()));
  outbox.flush();
  tell({ kind: 'stopped' });
  port.close();
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'commands':
      return takeCommands(message.buffer);
    case 'release':
      return outbox.release(message.buffer);
    case 'ping':
      return tell({ kind: 'pong' });
    case 'stop':
      return void stop();
  }
});

const statisticsTimer = setInterval(() => {
  for (const poller of pollers) tell({ kind: 'statistics', statistics: poller.statistics() });
}, STATISTICS_MS);

for (const poller of pollers) poller.start();
tell({ kind: 'ready' });
