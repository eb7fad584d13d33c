/** What passes on a bus, frame by frame, while somebody looks: the newest first, with pause, filter and download. */
import { useComputed, useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import { say } from './language.js';
import { download, Failure, Table } from './parts.js';
import { parse } from './plant.js';
import { link, request, subscribe, topicOf } from './session.js';

interface Frame {
  readonly number: number;
  readonly timeMs: number;
  readonly isSent: boolean;
  readonly hex: string;
}

/** The gateway tells of frames for so long; asked for again before it is over, it ends soon after the page is gone. */
const LEASE_MS = 20_000;
const FRAMES_MAX = 500;
/** Pieces of one answer follow each other within this. */
const PIECE_MS = 50;

export const FrameLog: FunctionComponent<{ bus: string }> = ({ bus }) => {
  const frames = useSignal<readonly Frame[]>([]);
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
    const unsubscribe = subscribe(topicOf('trace', bus), (_topic, payload) => {
      if (!isPaused.value) frames.value = added(frames.value, payload);
    });
    ask(LEASE_MS);
    const renew = setInterval(() => ask(LEASE_MS), LEASE_MS / 2);
    return () => {
      clearInterval(renew);
      unsubscribe();
      ask(0);
    };
  }, [bus, isLive]);
  const shown = useComputed(() => {
    const wanted = filter.value.replaceAll(/\s/g, '').toLowerCase();
    return frames.value.filter(({ hex }) => hex.includes(wanted));
  });
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
        <input
          type="search"
          placeholder={say('filter_bytes')}
          aria-label={say('filter_bytes')}
          value={filter.value}
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
        <button type="button" onClick={() => download(`${bus}.csv`, csv(shown.value))}>
          {say('download_csv')}
        </button>
      </div>
      <Table caption={say('frames')} heads={[say('time'), say('direction'), say('bytes')]}>
        {shown.value.map((frame) => (
          <tr key={frame.number}>
            <td>{timeText(frame.timeMs)}</td>
            <td>{say(frame.isSent ? 'sent' : 'received')}</td>
            <td>
              <code>{spaced(frame.hex)}</code>
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
};

/** With one piece more, the newest first; a piece that goes on where the last one ended belongs to its frame. */
function added(frames: readonly Frame[], payload: Uint8Array): readonly Frame[] {
  const told = parse(payload);
  if (!isTold(told)) return frames;
  const { t: timeMs, x: hex } = told;
  const isSent = told.d === 'sent';
  const [last, ...others] = frames;
  if (last !== undefined && !isSent && !last.isSent && timeMs - last.timeMs < PIECE_MS)
    return [{ ...last, hex: last.hex + hex }, ...others];
  return [{ number: (last?.number ?? 0) + 1, timeMs, isSent, hex }, ...frames.slice(0, FRAMES_MAX - 1)];
}

function isTold(json: unknown): json is { t: number; d: string; x: string } {
  return typeof json === 'object' && json !== null && 't' in json && 'd' in json && 'x' in json;
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

function spaced(hex: string): string {
  return hex.replaceAll(/(..)(?!$)/g, '$1 ');
}

function csv(frames: readonly Frame[]): string {
  const rows = frames.map(
    ({ timeMs, isSent, hex }) => `${new Date(timeMs).toISOString()},${isSent ? 'sent' : 'received'},${hex}`,
  );
  return ['time,direction,bytes', ...rows.reverse()].join('\n');
}
