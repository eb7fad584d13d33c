/**
 * Thread entry: one Poller for each bus of its shard, all telling through one outbox. What goes wrong beyond
 * expectation ends the thread; the pool starts another.
 */
import { MessageChannel, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { sharedMs, systemClock } from '../clock.js';
import { unpackTags } from '../config/leantag.js';
import type { Bus, Device, ShareSettings } from '../config/plant.js';

import { collectGarbage } from '../entry.js';
import { messageOf } from '../errors.js';
import {
  type Client,
  createClient,
  type HeirClient,
  type Owed,
  type LinkListener,
  type ModbusError,
  type OnFrame,
} from '../modbus/client.js';
import { Fence } from './fence.js';
import { REPLACED } from './messages.js';
import type { FromWorker, ToWorker, Work, WorkerData } from './messages.js';
import { Outbox } from './outbox.js';
import { COMMAND_CODE, ParcelReader, RESULT_CODES } from './parcel.js';
import { Poller, type PollerEvents } from './poller.js';
import { Ring } from './ring.js';
import { scan, type ScanOptions } from './scan.js';
import { Share } from './share.js';

/** A parcel leaves at once unless so many have just left; then each carries what came within this time. */
const FLUSH_MS = 10;
const FLUSHES_AT_ONCE = 10;
/** The answers of a fleet that was asked together come within about so long. */
const CROWD_MS = 3;
const STATISTICS_MS = 10_000;
/** The first ones come sooner: whoever has just started it wants to see how it does. */
const FIRST_STATISTICS_MS = 2000;
/** A scan waits so long for its link. */
const CONNECT_MS = 1500;

if (parentPort === null) throw new Error('worker.js runs as a worker thread of the pool');
const port = parentPort;
// The pool is the only one who starts this file, and these are its types.
const shard = workerData as WorkerData;

const tell = (message: FromWorker): void => port.postMessage(message);

/** Up to when parcels have been paid for, at one in FLUSH_MS. */
let paidUntilMs = 0;
const outbox = new Outbox({
  clock: systemClock,
  ring: new Ring(shard.ring),
  post: (buffer) => port.postMessage({ kind: 'parcel', buffer } satisfies FromWorker, [buffer]),
  defer: (flush, isCrowd) => {
    const nowMs = systemClock.monotonicMs();
    paidUntilMs = Math.max(paidUntilMs, nowMs - FLUSHES_AT_ONCE * FLUSH_MS) + FLUSH_MS;
    const waitMs = Math.max(paidUntilMs - nowMs, isCrowd ? CROWD_MS : 0);
    if (waitMs > 0) setTimeout(flush, waitMs);
    else setImmediate(flush);
  },
});

const events: PollerEvents = {
  deviceChanged: (deviceIndex, state, sinceMs, error) =>
    tell({ kind: 'device', deviceIndex, state, sinceMs, error }),
  busChanged: (busIndex, isUp, error) => tell({ kind: 'bus', busIndex, isUp, error }),
  event: (event, fields) => tell({ kind: 'event', event, fields }),
  learned: (device, record) => tell({ kind: 'learned', deviceIndex: device.index, record }),
};

const fence = shard.fence === null ? null : new Fence(shard.fence);

/** The same listener, which asks the fence before each frame. */
function fenced(listener: LinkListener): LinkListener {
  if (fence === null) return listener;
  return {
    up: () => listener.up(),
    down: (error) => listener.down(error),
    ...(listener.frame === undefined ? {} : { frame: (...said) => listener.frame?.(...said) }),
    discarded: (...said) => listener.discarded?.(...said),
    oneAtATime: () => listener.oneAtATime?.(),
    maySend: () => fence.isOpen,
  };
}

/** By bus index. */
const pollers = new Map<number, Poller>();
/** By the index of a tag or batch. */
const pollerOfTag: (Poller | undefined)[] = [];
const shares = new Map<number, Share>();
const clients = new Map<number, HeirClient>();

async function add({ buses, devices, tags: packed, serialPorts, knowledge, owed }: Work): Promise<void> {
  const { tags, batches } = unpackTags(packed);
  for (const bus of buses) {
    const own = tags.filter((tag) => tag.device.bus === bus);
    const poller = new Poller({
      bus,
      devices: devices.filter((device) => device.bus === bus),
      tags: own,
      batches: batches.filter((batch) => batch.device.bus === bus),
      clock: systemClock,
      random: Math.random,
      sink: outbox,
      events,
      connect: (listener) => {
        const client = createClient(bus, fenced(listener), systemClock, () => {
          const serialPort = serialPorts.get(bus.index);
          if (serialPort === undefined) throw new Error(`bus ${bus.name}: no port was handed over`);
          return serialPort;
        });
        client.owe(shifted(owed.get(bus.index), aheadMs()));
        clients.set(bus.index, client);
        return client;
      },
      knowledgeOf: (device) => knowledge.get(device.index),
    });
    pollers.set(bus.index, poller);
    for (const tag of own) pollerOfTag[tag.index] = poller;
    for (const batch of batches) if (batch.device.bus === bus) pollerOfTag[batch.index] = poller;
    if (bus.share !== null) {
      const own = devices.filter((device) => device.bus === bus);
      shares.set(bus.index, shareOf(bus, bus.share, own, poller));
    }
  }
  for (const { index } of buses) pollers.get(index)?.start();
  await Promise.all(buses.flatMap(({ index }) => shares.get(index)?.open() ?? []));
}

function shareOf(bus: Bus, settings: ShareSettings, devices: readonly Device[], poller: Poller): Share {
  return new Share({
    bus,
    settings,
    devices,
    clock: systemClock,
    visit: (request, isWanted) => poller.visit(request, isWanted),
    event: events.event,
  });
}

async function remove(busIndexes: readonly number[]): Promise<void> {
  const gone = busIndexes.flatMap((index) => pollers.get(index) ?? []);
  const closed = busIndexes.map((index) => shares.get(index)?.close());
  for (const index of busIndexes) {
    pollers.delete(index);
    shares.delete(index);
  }
  for (const [index, poller] of pollerOfTag.entries())
    if (poller !== undefined && gone.includes(poller)) pollerOfTag[index] = undefined;
  await Promise.all([...gone.map((poller) => poller.stop(REPLACED)), ...closed]);
  outbox.flush();
  const owed = new Map(busIndexes.map((index) => [index, shifted(clients.get(index)?.owed, -aheadMs())]));
  for (const index of busIndexes) clients.delete(index);
  tell({ kind: 'removed', owed });
}

/** How much later this thread's clock shows the time than the one that all threads share. */
function aheadMs(): number {
  return systemClock.monotonicMs() - sharedMs();
}

function shifted(owed: readonly Owed[] = [], byMs: number): Owed[] {
  return owed.map((one) => ({ ...one, untilMs: one.untilMs + byMs }));
}

function takeCommands(buffer: ArrayBuffer): void {
  const reader = new ParcelReader(buffer);
  const ahead = aheadMs();
  while (reader.next()) {
    const poller = pollerOfTag[reader.index];
    if (poller === undefined) {
      const text = Buffer.from('its bus was taken away');
      outbox.result(reader.index, RESULT_CODES.indexOf('UNKNOWN_TAG'), reader.correlation, text);
      continue;
    }
    poller.command(
      {
        kind: reader.code === COMMAND_CODE.read ? 'read' : 'write',
        correlation: reader.correlation,
        deadlineMs: reader.timeMs + ahead,
        payload: reader.payload,
      },
      reader.index,
    );
  }
}

/** Numbers of scans that go on. */
const scans = new Set<number>();

async function runScan(number: number, busIndex: number, options: ScanOptions): Promise<void> {
  const poller = pollers.get(busIndex);
  scans.add(number);
  let error = poller === undefined ? 'its bus was taken away' : '';
  try {
    await poller?.lend(() =>
      scan({
        bus: poller.bus,
        options,
        connect: connectForScan,
        tell: (news) => tell({ kind: 'scan-news', number, news }),
        isAborted: () => !scans.has(number) || pollers.get(busIndex) !== poller,
      }),
    );
  } catch (thrown) {
    error = messageOf(thrown);
  }
  scans.delete(number);
  tell({ kind: 'scanned', number, error });
}

/** Resolves when the link is up; a serial port is opened through the main thread, as ever. */
async function connectForScan(bus: Bus): Promise<{ client: Client; close(): Promise<void> }> {
  let serial: MessagePort | null = null;
  let settle: (problem: string | null) => void = () => {};
  const isUp = new Promise<string | null>((resolve) => (settle = resolve));
  // The port may still be on its way back from the poller.
  const giveUpMs = systemClock.monotonicMs() + CONNECT_MS;
  const listener = {
    up: () => settle(null),
    down: (error: ModbusError) => {
      if (systemClock.monotonicMs() > giveUpMs) settle(error.text);
    },
  };
  const client = createClient(bus, fenced(listener), systemClock, () => {
    const { port1, port2 } = new MessageChannel();
    port.postMessage({ kind: 'serial', port: port1 } satisfies FromWorker, [port1]);
    serial = port2;
    return port2;
  });
  const close = async (): Promise<void> => {
    await client.close();
    serial?.close();
  };
  client.open();
  const problem = await isUp;
  if (problem === null) return { client, close };
  await close();
  throw new Error(problem);
}

function trace(busIndex: number, isOn: boolean): void {
  const offsetMs = systemClock.nowMs() - systemClock.monotonicMs();
  const onFrame: OnFrame = (direction, bytes, atMs) =>
    tell({ kind: 'frame', busIndex, frame: { direction, bytes, timeMs: atMs + offsetMs } });
  pollers.get(busIndex)?.trace(isOn ? onFrame : null);
}

async function stop(): Promise<void> {
  scans.clear();
  for (const timer of statisticsTimers) clearTimeout(timer);
  await Promise.all([
    ...[...shares.values()].map((share) => share.close()),
    ...[...pollers.values()].map((poller) => poller.stop()),
  ]);
  outbox.flush();
  tell({ kind: 'stopped' });
  port.close();
}

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'commands':
      return takeCommands(message.buffer);
    case 'released':
      return outbox.released();
    case 'add':
      return void add(message.work);
    case 'remove':
      return void remove(message.busIndexes);
    case 'scan':
      return void runScan(message.number, message.busIndex, message.options);
    case 'scan-stop':
      scans.delete(message.number);
      return;
    case 'trace':
      return trace(message.busIndex, message.isOn);
    case 'ping':
      return tell({ kind: 'pong' });
    case 'stop':
      return void stop();
  }
});

const tellStatistics = (): void => {
  for (const poller of pollers.values()) tell({ kind: 'statistics', statistics: poller.statistics() });
};
const statisticsTimers = [
  setTimeout(tellStatistics, FIRST_STATISTICS_MS),
  setInterval(tellStatistics, STATISTICS_MS),
];

await add(shard);
collectGarbage();
tell({ kind: 'ready' });
