/** `holdfast trace`: what passes on a bus of a running gateway, frame by frame. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { durationText, parseDuration } from '../config/units.js';
import { FrameJoiner, type Framing, frameText, framingOf, type TracedFrame } from '../modbus/frames.js';
import { PcapWriter } from '../modbus/pcap.js';
import { BROKER_OPTIONS, plantOf } from './brokerlink.js';
import { Daemon } from './daemon.js';
import { type Paint, paintOf } from './paint.js';
import { nearest, some } from './target.js';
import { EXIT, numberOption, textOption, UsageError, type Context, type Verb, VerbError } from './verb.js';

/** Renewed before it ends, so that it ends soon after somebody who does not come back. */
const LEASE_MS = 20_000;

export const verb: Verb = {
  name: 'trace',
  summary: 'show the frames of a bus of a running gateway, decoded',
  arguments: 'BUS',
  argumentHelp: [{ name: 'BUS', description: 'its name in the gateway file' }],
  options: [
    ...BROKER_OPTIONS,
    { flags: '--for DURATION', description: 'end after so long; until Ctrl-C unless given' },
    { flags: '-n, --count NUMBER', description: 'end after so many frames' },
    {
      flags: '--pcap FILE',
      description: 'also write a capture file that Wireshark reads as Modbus/TCP, of any bus',
    },
    { flags: '--hex', description: 'the bytes too' },
    { flags: '--jsonl', description: 'one JSON object a frame' },
  ],
  examples: [
    { command: 'trace -c holdfast.yaml line1', meaning: 'until Ctrl-C' },
    { command: 'trace -c holdfast.yaml line1 --for 10s --hex', meaning: 'ten seconds, with the bytes' },
    {
      command: 'trace -c holdfast.yaml plc --pcap plc.pcap',
      meaning: 'open it with wireshark, or tshark -r',
    },
  ],
  run,
};

/** A piece as the gateway tells it. */
interface Told {
  readonly t: number;
  readonly d: 'sent' | 'received';
  readonly x: string;
}

async function run(context: Context): Promise<number> {
  const { args, options, stdout, interrupted } = context;
  const { name, framing, plant } = await busOf(context, args);
  const forMs = durationOf(context);
  let left = numberOption(options, 'count', 1, 1e9) ?? Infinity;
  const pcapFile = textOption(options, 'pcap');
  const daemon = await Daemon.open(context, plant);
  const file = pcapFile === undefined ? null : openSync(pcapFile, 'w');
  const pcap = file === null ? null : new PcapWriter(framing, (bytes) => void writeSync(file, bytes));
  const joiner = new FrameJoiner(framing);
  let enough: () => void = () => {};
  const isEnough = new Promise<null>((resolve) => (enough = () => resolve(null)));
  interrupted.addEventListener('abort', enough, { once: true });
  const show = new Shown(framing, paintOf(context), options);
  const renew = setInterval(() => void daemon.request('trace', { bus: name, for: `${LEASE_MS}ms` }).catch(enough), LEASE_MS / 2);
  const end = setTimeout(enough, forMs).unref();
  try {
    await daemon.link.subscribe(daemon.names.tracePrefix + name, 0, ({ payload }) => {
      if (left <= 0) return;
      // Our own gateway writes these (gateway/fieldwork.ts).
      const { t, d, x } = JSON.parse(Buffer.from(payload).toString()) as Told;
      for (const frame of joiner.push({ direction: d, bytes: Buffer.from(x, 'hex'), timeMs: t })) {
        stdout.write(`${show.line(frame)}\n`);
        pcap?.add(frame);
        left -= 1;
      }
      if (left <= 0) enough();
    });
    await daemon.request('trace', { bus: name, for: `${LEASE_MS}ms` });
    const reason = await Promise.race([isEnough, daemon.link.closed]);
    if (reason !== null) throw new VerbError(EXIT.refused, `${daemon.link.url} closed the connection (${reason})`);
    await daemon.request('trace', { bus: name, for: '0ms' });
    return EXIT.ok;
  } finally {
    clearInterval(renew);
    clearTimeout(end);
    if (file !== null) closeSync(file);
    await daemon.close();
  }
} // prettier-ignore

function durationOf({ options }: Context): number {
  const text = textOption(options, 'for');
  const ms = text === undefined ? 2 ** 31 - 1 : parseDuration(text);
  if (ms === null || ms <= 0) throw new UsageError(`--for ${text} is no duration; write 10s`);
  return ms;
}

async function busOf(context: Context, [name, ...rest]: readonly string[]): Promise<{ name: string; framing: Framing; plant: NonNullable<Awaited<ReturnType<typeof plantOf>>> }> {
  const plant = await plantOf(context);
  if (name === undefined || rest.length > 0 || plant === null)
    throw new UsageError("which bus of which gateway? 'holdfast trace -c holdfast.yaml line1'");
  const bus = plant.buses.find((one) => one.name === name);
  if (bus !== undefined) return { name, framing: framingOf(bus.link.kind), plant };
  const names = plant.buses.map((one) => one.name);
  throw new UsageError(`${plant.file} has no bus ${name}${nearest(name, names)}; there are ${some(names)}`);
} // prettier-ignore

/** Lines of frames: when, which way, how long after the request, and what it says. */
class Shown {
  readonly #framing: Framing;
  readonly #paint: Paint;
  readonly #isJson: boolean;
  readonly #isHex: boolean;
  #sentAtMs = 0;

  constructor(framing: Framing, paint: Paint, options: Context['options']) {
    this.#framing = framing;
    this.#paint = paint;
    this.#isJson = options['jsonl'] === true;
    this.#isHex = options['hex'] === true;
  }

  line({ direction, bytes, timeMs }: TracedFrame): string {
    const text = frameText(this.#framing, direction, bytes);
    const isSent = direction === 'sent';
    const afterMs = isSent || this.#sentAtMs === 0 ? null : Number((timeMs - this.#sentAtMs).toFixed(3));
    if (isSent) this.#sentAtMs = timeMs;
    const hex = Buffer.from(bytes).toString('hex');
    if (this.#isJson) return JSON.stringify({ t: timeMs, direction, text, after_ms: afterMs, hex });
    const after = afterMs === null ? '' : durationText(Number(afterMs.toFixed(1)));
    const isOdd = /exception|checksum|no whole/.test(text);
    const said = isOdd ? this.#paint('red', text) : text;
    const shown = this.#isHex ? `  ${hex.replace(/..(?=.)/g, '$& ')}` : '';
    return `${new Date(timeMs).toISOString().slice(11, 23)}  ${isSent ? '->' : '<-'}  ${after.padStart(7)}  ${said}${shown}`;
  }
}
