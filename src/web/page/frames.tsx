/** What passes on a bus, frame by frame, while somebody looks: the newest first, with pause, filter and download. */
import { useComputed, useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import {
  type Direction,
  FrameJoiner,
  type FrameParts,
  type Framing,
  FUNCTION_NAMES,
  partsOf,
  type TracedFrame,
} from '../../modbus/frames.js';
import { bytesOf, hexOf } from '../../modbus/framing.js';
import { PcapWriter } from '../../modbus/pcap.js';
import { say, type Key } from './language.js';
import { download, Failure, Search, Table } from './parts.js';
import { parse } from './plant.js';
import { momentText } from './texts.js';
import { link, request, subscribe, topicOf } from './session.js';

interface Shown extends TracedFrame {
  readonly number: number;
  readonly hex: string;
  /** null: broken. */
  readonly parts: FrameParts | null;
  /** Of an answer: how long after its request; null of a request. */
  readonly afterMs: number | null;
}

/** The gateway tells of frames for so long; asked for again before it is over, it ends soon after the page is gone. */
const LEASE_MS = 20_000;
const FRAMES_MAX = 500;

export const FrameLog: FunctionComponent<{ bus: string; framing: Framing }> = ({ bus, framing }) => {
  const frames = useSignal<readonly Shown[]>([]);
  const isPaused = useSignal(false);
  const filter = useSignal('');
  const failure = useSignal<string | null>(null);
  const isLive = link.value.state === 'live';
  useEffect(() => {
    if (!isLive) return undefined;
    const ask = (forMs: number): void => {
      request('trace', { bus, for: `${forMs}ms` }).catch((error: unknown) => {
        failure.value = error instanceof Error ? error.message : String(error);
      });
    };
    const joiner = new FrameJoiner(framing);
    const unsubscribe = subscribe(topicOf('trace', bus), (_topic, payload) => {
      const whole = toldOf(payload).flatMap((piece) => joiner.push(piece));
      if (whole.length > 0 && !isPaused.value)
        frames.value = whole.reduce((now, frame) => added(now, frame, framing), frames.value);
    });
    ask(LEASE_MS);
    const renew = setInterval(() => ask(LEASE_MS), LEASE_MS / 2);
    return () => {
      clearInterval(renew);
      unsubscribe();
      ask(0);
    };
  }, [bus, framing, isLive]);
  const shown = useComputed(() => frames.value.filter((frame) => isFound(frame, filter.value)));
  return (
    <>
      <Failure text={failure.value} />
      <div class="tools">
        <label>
          <input
            type="checkbox"
            checked={isPaused.value}
            onChange={(event) => (isPaused.value = event.currentTarget.checked)}
          />
          {say('pause')}
        </label>
        <Search text={filter} hint="filter_frames" />
        <button type="button" onClick={() => download(`${bus}.csv`, [csv(shown.value)])}>
          {say('download_csv')}
        </button>
        <button type="button" onClick={() => download(`${bus}.pcap`, pcap(framing, shown.value))}>
          {say('download_pcap')}
        </button>
      </div>
      <Table
        caption={say('frames')}
        heads={[
          say('time'),
          say('direction'),
          say('unit'),
          say('function'),
          say('frame_data'),
          'ms',
          say('bytes'),
        ]}
      >
        {shown.value.map((frame) => (
          <Row key={frame.number} frame={frame} />
        ))}
      </Table>
    </>
  );
};

const Row: FunctionComponent<{ frame: Shown }> = ({ frame: { timeMs, direction, parts, afterMs, hex } }) => (
  <tr class={parts?.exceptionCode === null ? undefined : 'odd'}>
    <td class="number">{momentText(timeMs)}</td>
    <td>{directionText(direction)}</td>
    <td class="number">{parts?.unitId ?? '–'}</td>
    <td>{parts === null ? say('broken_frame') : functionText(parts)}</td>
    <td>{(parts?.exceptionCode ?? null) === null ? parts?.data : exceptionText(parts)}</td>
    <td class="number">{afterMs?.toFixed(1)}</td>
    <td>
      <code>{hex.replaceAll(/(..)(?!$)/g, '$1 ')}</code>
    </td>
  </tr>
);

/** With one more, the newest first. */
function added(frames: readonly Shown[], frame: TracedFrame, framing: Framing): readonly Shown[] {
  const [last] = frames;
  const { direction, bytes, timeMs } = frame;
  const shown = {
    ...frame,
    number: (last?.number ?? 0) + 1,
    hex: hexOf(bytes),
    parts: partsOf(framing, direction, bytes),
    afterMs: direction === 'received' && last?.direction === 'sent' ? timeMs - last.timeMs : null,
  };
  return [shown, ...frames.slice(0, FRAMES_MAX - 1)];
}

/** The piece that a message of the gateway tells, if it is one. */
function toldOf(payload: Uint8Array): readonly TracedFrame[] {
  const told = parse(payload);
  if (typeof told !== 'object' || told === null || !('t' in told && 'd' in told && 'x' in told)) return [];
  const direction: Direction = told.d === 'sent' ? 'sent' : 'received';
  return [{ direction, bytes: bytesOf(String(told.x)), timeMs: Number(told.t) }];
}

/** By bytes, with or without blanks between them, or by words that the row shows. */
function isFound({ hex, parts, direction }: Shown, filter: string): boolean {
  const wanted = filter.trim().toLowerCase();
  if (hex.includes(wanted.replaceAll(/\s/g, ''))) return true;
  const exception = exceptionText(parts);
  const words = `${directionText(direction)} ${parts === null ? say('broken_frame') : functionText(parts)} ${exception}`;
  return words.toLowerCase().includes(wanted);
}

function directionText(direction: Direction): string {
  return `${direction === 'sent' ? '→' : '←'} ${say(direction)}`;
}

function functionText({ functionCode }: FrameParts): string {
  const name = functionCode in FUNCTION_NAMES ? say(`function_${functionCode}` as Key) : '';
  return `${functionCode} ${name}`.trim();
}

function exceptionText(parts: FrameParts | null): string {
  const code = parts?.exceptionCode ?? null;
  return code === null ? '' : say('exception', { code });
}

function csv(frames: readonly Shown[]): string {
  const rows = frames.map(
    ({ timeMs, direction, hex }) => `${new Date(timeMs).toISOString()},${direction},${hex}`,
  );
  return ['time,direction,bytes', ...rows.reverse()].join('\n');
}

function pcap(framing: Framing, frames: readonly Shown[]): BlobPart[] {
  const pieces: BlobPart[] = [];
  const writer = new PcapWriter(framing, (bytes) => pieces.push(bytes));
  for (const frame of [...frames].reverse()) writer.add(frame);
  return pieces;
}
