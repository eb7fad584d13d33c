/** Up to six tags over the last hour, from the gateway's ring and then live. The chart is loaded with this view only. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { say } from './language.js';
import { download, Failure, useAnswer } from './parts.js';
import { liveTags } from './plant.js';

const TAGS_MAX = 6;
const COLOURS = ['#2563c9', '#c2410c', '#15803d', '#9333ea', '#b45309', '#0e7490'];

interface History {
  /** Bucket starts, seconds since 1970. */
  readonly times: readonly number[];
  /** By topic: lowest and highest of each bucket, null where nothing was. */
  readonly series: Readonly<
    Record<string, { readonly min: readonly (number | null)[]; readonly max: readonly (number | null)[] }>
  >;
}

export const TrendView: FunctionComponent = () => {
  const chosen = useSignal<readonly string[]>([]);
  const { answer, failure } = useAnswer<History>('history', 5000, { topics: chosen.value });
  const toggle = (topic: string): void => {
    chosen.value = chosen.value.includes(topic)
      ? chosen.value.filter((other) => other !== topic)
      : [...chosen.value, topic].slice(0, TAGS_MAX);
  };
  return (
    <>
      <Failure text={failure} />
      <details open={chosen.value.length === 0}>
        <summary>{say('choose_tags')}</summary>
        <div class="choices">
          {liveTags.value.map((tag) => (
            <label key={tag.about.topic}>
              <input
                type="checkbox"
                checked={chosen.value.includes(tag.about.topic)}
                disabled={!chosen.value.includes(tag.about.topic) && chosen.value.length >= TAGS_MAX}
                onChange={() => toggle(tag.about.topic)}
              />
              {tag.device}/{tag.about.name}
            </label>
          ))}
        </div>
      </details>
      {answer !== null && chosen.value.length > 0 && (
        <>
          <Chart history={answer} topics={chosen.value} />
          <button type="button" onClick={() => download('trend.csv', csv(answer, chosen.value))}>
            {say('download_csv')}
          </button>
        </>
      )}
    </>
  );
};

const Chart: FunctionComponent<{ history: History; topics: readonly string[] }> = ({ history, topics }) => {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let gone = false;
    let destroy = (): void => {};
    void import('uplot').then(({ default: Plot }) => {
      const element = place.current;
      if (gone || element === null) return;
      const lines = topics.map((topic, index) => ({
        label: topic,
        stroke: COLOURS[index % COLOURS.length] ?? '#000',
        width: 1.5,
      }));
      const values = topics.map((topic) => middle(history.series[topic], history.times.length));
      const plot = new Plot(
        {
          width: element.clientWidth,
          height: 360,
          series: [{}, ...lines],
          cursor: { drag: { x: true, y: false } },
        },
        [[...history.times], ...values],
        element,
      );
      destroy = () => plot.destroy();
    });
    return () => {
      gone = true;
      destroy();
    };
  }, [history, topics]);
  return <div class="chart" ref={place} />;
};

type Series = History['series'][string] | undefined;

function middle(series: Series, length: number): (number | null)[] {
  return Array.from({ length }, (_none, index) => {
    const [low, high] = [series?.min[index] ?? null, series?.max[index] ?? null];
    return low === null || high === null ? null : (low + high) / 2;
  });
}

function csv(history: History, topics: readonly string[]): string {
  const head = ['time', ...topics.flatMap((topic) => [`${topic} min`, `${topic} max`])].join(',');
  const rows = history.times.map((time, index) =>
    [
      new Date(time * 1000).toISOString(),
      ...topics.flatMap((topic) => [
        history.series[topic]?.min[index] ?? '',
        history.series[topic]?.max[index] ?? '',
      ]),
    ].join(','),
  );
  return [head, ...rows].join('\n');
}
