/** Each bus: whether it is up, how much of its time is in use, and what passes on it. */
import { signal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { framingOf } from '../../modbus/frames.js';
import { FrameLog } from './frames.js';
import { say } from './language.js';
import { Fact, Facts, Failure, useAnswer } from './parts.js';
import { plant } from './plant.js';
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

/** The bus whose frames are shown. */
const traced = signal<string | null>(null);

export const BusView: FunctionComponent = () => {
  const { answer, failure } = useAnswer<{ buses: readonly BusFigures[] }>('statistics', 5000);
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
            <Facts>
              <Fact name={say('state')} state={figures?.isUp === false ? 'offline' : 'online'}>
                {figures === undefined
                  ? say('unknown')
                  : figures.isUp
                    ? say('online')
                    : `${say('offline')} ${figures.error}`}
              </Fact>
              <Fact name={say('utilisation')}>
                <meter min={0} max={1} low={0.7} high={0.9} value={figures?.utilisation ?? 0} />{' '}
                {percent(figures?.utilisation)}
              </Fact>
              <Fact name={say('transactions')}>{figures?.transactions ?? '–'}</Fact>
              <Fact name={say('late')}>{figures?.late ?? '–'}</Fact>
            </Facts>
            <button
              type="button"
              aria-expanded={traced.value === name}
              onClick={() => (traced.value = traced.value === name ? null : name)}
            >
              {say('frames')}
            </button>
            {traced.value === name && <FrameLog bus={name} framing={framingOf(link)} />}
          </section>
        );
      })}
    </>
  );
};
