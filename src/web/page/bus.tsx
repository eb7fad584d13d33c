/** Each bus: how much of its time is in use, and its frames while somebody looks. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import { say } from './language.js';
import { Failure, Table, useAnswer } from './parts.js';
import { parse, plant } from './plant.js';
import { request, subscribe, topicOf } from './session.js';
import { percent } from './texts.js';

interface BusFigures {
  readonly name: string;
  readonly isUp: boolean;
  readonly error: string;
  readonly utilisation?: number;
  readonly transactions?: number;
  readonly late?: number;
  readonly errors?: Readonly<Record<string, number>>;
}

interface Frame {
  readonly t: number;
  readonly dir: 'sent' | 'received';
  readonly hex: string;
  readonly text?: string;
}

const FRAMES_MAX = 500;

export const BusView: FunctionComponent = () => {
  const { answer, failure } = useAnswer<{ buses: readonly BusFigures[] }>('statistics', 5000);
  const traced = useSignal<string | null>(null);
  return (
    <>
      <Failure text={failure} />
      {plant.value?.buses.map(({ name, link }) => {
        const figures = answer?.buses.find((bus) => bus.name === name);
        return (
          <section class="card" key={name}>
            <h2>
              {name} <small>{link}</small>
            </h2>
            <dl>
              <dt>{say('state')}</dt>
              <dd class={figures?.isUp === false ? 'offline' : 'online'}>
                {figures === undefined
                  ? say('unknown')
                  : figures.isUp
                    ? say('online')
                    : `${say('offline')} ${figures.error}`}
              </dd>
              <dt>{say('utilisation')}</dt>
              <dd>
                <meter min={0} max={1} low={0.7} high={0.9} value={figures?.utilisation ?? 0} />{' '}
                {percent(figures?.utilisation)}
              </dd>
              <dt>{say('transactions')}</dt>
              <dd>{figures?.transactions ?? '–'}</dd>
              <dt>{say('late')}</dt>
              <dd>{figures?.late ?? '–'}</dd>
            </dl>
            <button
              type="button"
              aria-pressed={traced.value === name}
              onClick={() => (traced.value = traced.value === name ? null : name)}
            >
              {say('show_frames')}
            </button>
            {traced.value === name && <Frames bus={name} />}
          </section>
        );
      })}
    </>
  );
};

/** Asks the gateway for a trace, renewed while the view is open; frames come on the bus's trace topic. */
const Frames: FunctionComponent<{ bus: string }> = ({ bus }) => {
  const frames = useSignal<readonly Frame[]>([]);
  const isPaused = useSignal(false);
  const filter = useSignal('');
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    const leave = subscribe(topicOf('trace', bus), (_topic, payload) => {
      const frame = parse(payload) as Frame | undefined;
      if (frame !== undefined && !isPaused.value)
        frames.value = [frame, ...frames.value].slice(0, FRAMES_MAX);
    });
    const ask = (): void => {
      request('trace', { bus, seconds: 30 }).catch((error: unknown) => (failure.value = String(error)));
    };
    ask();
    const timer = setInterval(ask, 20_000);
    return () => {
      clearInterval(timer);
      leave();
    };
  }, [bus, frames, isPaused, failure]);
  const text = filter.value.toLowerCase();
  const shown = frames.value.filter((frame) =>
    `${frame.hex} ${frame.text ?? ''}`.toLowerCase().includes(text),
  );
  return (
    <>
      <div class="tools">
        <input
          aria-label={say('filter')}
          placeholder={say('filter')}
          value={filter.value}
          onInput={(event) => (filter.value = event.currentTarget.value)}
        />
        <button type="button" onClick={() => (isPaused.value = !isPaused.value)}>
          {say(isPaused.value ? 'resume' : 'pause')}
        </button>
        <button type="button" onClick={() => save(bus, shown)}>
          {say('save')}
        </button>
      </div>
      <Failure text={failure.value} />
      <Table caption={say('frames')} heads={[say('age'), '', 'hex', '']}>
        {shown.map((frame, index) => (
          <tr key={index}>
            <td>{new Date(frame.t).toISOString().slice(11, 23)}</td>
            <td>{say(frame.dir === 'sent' ? 'direction_sent' : 'direction_received')}</td>
            <td>
              <code>{frame.hex}</code>
            </td>
            <td>{frame.text}</td>
          </tr>
        ))}
      </Table>
    </>
  );
};

function save(bus: string, frames: readonly Frame[]): void {
  const lines = frames.map((frame) =>
    `${new Date(frame.t).toISOString()} ${frame.dir} ${frame.hex} ${frame.text ?? ''}`.trimEnd(),
  );
  download(`${bus}-frames.txt`, lines.reverse().join('\n'));
}

export function download(name: string, text: string): void {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(new Blob([text]));
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
}
