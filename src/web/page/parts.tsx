/** Small parts that several views draw: quality, a sparkline, a table with headings, an answer that is asked again and again. */
import { useSignal, type Signal } from '@preact/signals';
import type { ComponentChildren, FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import { nowMs } from './clock.js';
import { say, type Key } from './language.js';
import type { LiveTag, QualityWord } from './plant.js';
import { link, request } from './session.js';

/** Shape and word beside colour, for those who see no difference in colours. */
const SHAPE: Record<QualityWord | 'waiting', string> = {
  good: '●',
  stale: '◐',
  uncertain: '◆',
  bad: '✕',
  waiting: '○',
};

export const Quality: FunctionComponent<{ word: QualityWord | 'waiting'; reason?: string }> = ({
  word,
  reason = '',
}) => (
  <span class={`quality ${word}`}>
    <span aria-hidden="true">{SHAPE[word]}</span> {say(word)}
    {reason !== '' && <small> {reasonText(reason)}</small>}
  </span>
);

function reasonText(reason: string): string {
  const key = `reason_${reason}`;
  return ['timeout', 'exception', 'offline', 'invalid', 'implausible', 'clock'].includes(reason)
    ? say(key as Key)
    : reason;
}

const WIDTH = 120;
const HEIGHT = 24;

/** The tag's last five minutes, in steps where there is nothing between two values; drawn anew every two seconds at most. */
export const Sparkline: FunctionComponent<{ tag: LiveTag }> = ({ tag }) => {
  void (nowMs.value >> 1);
  const points = tag.recent;
  if (points.length < 2) return <svg class="spark" width={WIDTH} height={HEIGHT} aria-hidden="true" />;
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const first = points[0]?.timeMs ?? 0;
  const spanMs = Math.max(1, (points.at(-1)?.timeMs ?? 0) - first);
  const at = (timeMs: number, value: number): string => {
    const x = ((timeMs - first) / spanMs) * WIDTH;
    const y = high === low ? HEIGHT / 2 : HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 4);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  };
  const isStepped = tag.about.type === 'bool';
  const path = points
    .flatMap(({ timeMs, value }, index) => {
      const before = isStepped ? points[index - 1] : undefined;
      return before === undefined ? [at(timeMs, value)] : [at(timeMs, before.value), at(timeMs, value)];
    })
    .join(' ');
  return (
    <svg
      class="spark"
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={`${low} … ${high}`}
    >
      <polyline points={path} />
    </svg>
  );
};

export const Table: FunctionComponent<{
  caption: string;
  heads: readonly string[];
  /** The children are bodies, not rows. */
  isGrouped?: boolean;
  children: ComponentChildren;
}> = (props) => (
  <div class="scroll" tabIndex={0} role="region" aria-label={props.caption}>
    <table>
      <caption>{props.caption}</caption>
      <thead>
        <tr>
          {props.heads.map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      {props.isGrouped === true ? props.children : <tbody>{props.children}</tbody>}
    </table>
  </div>
);

/** Figures side by side, each under its name. */
export const Facts: FunctionComponent = ({ children }) => <dl class="facts">{children}</dl>;

export const Fact: FunctionComponent<{ name: string; state?: string }> = ({ name, state, children }) => (
  <div>
    <dt>{name}</dt>
    <dd class={state}>{children}</dd>
  </div>
);

export const Failure: FunctionComponent<{ text: string | null }> = ({ text }) =>
  text === null ? null : (
    <p class="failure" role="alert">
      {text}
    </p>
  );

/** Where one looks for something, said by the hint. */
export const Search: FunctionComponent<{ text: Signal<string>; hint: Key }> = ({ text, hint }) => (
  <input
    type="search"
    placeholder={say(hint)}
    aria-label={say(hint)}
    value={text.value}
    onInput={(event) => (text.value = event.currentTarget.value)}
  />
);

/** Asks a management verb now and every everyMs while the view is open; the newest answer, or why there is none. */
export function useAnswer<T>(
  verb: string,
  everyMs: number,
  body: Record<string, unknown> = {},
): { answer: T | null; failure: string | null } {
  const answer = useSignal<T | null>(null);
  const failure = useSignal<string | null>(null);
  const asked = JSON.stringify(body);
  const isLive = link.value.state === 'live';
  useEffect(() => {
    if (!isLive) return undefined;
    const ask = (): void => {
      request<T>(verb, JSON.parse(asked) as Record<string, unknown>)
        .then((got) => {
          answer.value = got;
          failure.value = null;
        })
        .catch((error: unknown) => (failure.value = error instanceof Error ? error.message : String(error)));
    };
    ask();
    const timer = everyMs === 0 ? undefined : setInterval(ask, everyMs);
    return () => clearInterval(timer);
  }, [verb, asked, everyMs, isLive]);
  return { answer: answer.value, failure: failure.value };
}

/** Saves something as a file of the user's. */
export function download(name: string, pieces: BlobPart[]): void {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(new Blob(pieces));
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}
