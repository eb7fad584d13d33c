/** A scan as a verb has it done: by the gateway that holds the bus, else here. */
import { dirname } from 'node:path';
import { loadSignaturesAside } from '../config/loadaside.js';
import type { Bus, Plant } from '../config/plant.js';
import { messageOf } from '../errors.js';
import { scanOptionsOf, type ScanWords, wrongMapText } from '../gateway/scanoptions.js';
import type { ScanNews } from '../poller/scan.js';
import { isNobodyThere } from './brokerlink.js';
import { Daemon } from './daemon.js';
import { Field } from './field.js';
import { busPlantOf, partOf } from './target.js';
import { EXIT, type Context, VerbError } from './verb.js';

/** Beyond what its units may take a scan that nobody hears of any more is given up. */
const GRACE_MS = 60_000;

export interface Scan {
  readonly context: Context;
  /** null: the bus came from a URL, and no gateway is asked. */
  readonly plant: Plant | null;
  readonly bus: Bus;
  readonly words: ScanWords;
  readonly worst: number;
  readonly tell: (news: ScanNews) => void;
}

/** By the gateway that holds the bus, else here. What went wrong, or an empty text. */
export async function carryOut(scan: Scan): Promise<string> {
  const daemon = scan.plant === null ? null : await daemonOf(scan.context, scan.plant);
  if (daemon === null) return here(scan);
  try {
    return await there(scan, daemon);
  } finally {
    await daemon.close();
  }
}

async function daemonOf(context: Context, plant: Plant): Promise<Daemon | null> {
  try {
    return await Daemon.open(context, plant);
  } catch (thrown) {
    if (isNobodyThere(thrown) || messageOf(thrown).includes('leaves the port')) return null;
    throw thrown;
  }
}

async function here({ context, plant, bus, words, tell }: Scan): Promise<string> {
  const own = { ...busPlantOf('tcp://127.0.0.1').plant, buses: [{ ...bus, share: null }] };
  const field = await Field.open(partOf({ plant: own, wanted: [] }));
  try {
    const { signatures, wrong } = await loadSignaturesAside(
      plant === null ? '.' : dirname(plant.file),
      context.env,
    );
    for (const file of wrong) tell({ kind: 'note', text: wrongMapText(file) });
    const running = field.pool.scan(bus.index, scanOptionsOf(bus, words, signatures), tell);
    context.interrupted.addEventListener('abort', () => running.stop(), { once: true });
    return await running.ended;
  } finally {
    await field.close();
  }
}

async function there({ context, plant, bus, words, worst, tell }: Scan, daemon: Daemon): Promise<string> {
  const events = plant?.gateway.topics.eventPrefix ?? '';
  let waitAnew = (): void => {};
  await daemon.link.subscribe(`${events}scan`, 0, ({ payload }) => {
    // Our own gateway writes these (gateway/fieldwork.ts).
    const news = JSON.parse(Buffer.from(payload).toString()) as ScanNews & { bus: string };
    if (news.bus !== bus.name || !['found', 'progress', 'note'].includes(news.kind)) return;
    // Who answers is looked at more closely, for as long as he takes.
    waitAnew();
    tell(news);
  });
  const stop = (): void => void daemon.request('scan-stop', { bus: bus.name }).catch(() => {});
  context.interrupted.addEventListener('abort', stop, { once: true });
  const { units, baud, format, timeout, stopAfter, isThorough } = words;
  try {
    const fields = {
      bus: bus.name,
      units,
      baud,
      format,
      timeout,
      stop_after: stopAfter,
      thorough: isThorough,
    };
    await daemon.request('scan', fields, 2 * worst + GRACE_MS, (anew) => (waitAnew = anew));
    return '';
  } catch (thrown) {
    if (thrown instanceof VerbError && thrown.exitCode !== EXIT.failed) throw thrown;
    return messageOf(thrown);
  }
}
