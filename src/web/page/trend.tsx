/** Up to six tags over the last hour, from the gateway's ring and then live. The chart is loaded with this view only. */
import { computed, signal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { AlignedData, Options, default as UPlot } from 'uplot';
import { say } from './language.js';
import { download, Failure, Search, useAnswer } from './parts.js';
import { timeText } from './texts.js';
import { isFound, liveTags, nameOf, type LiveTag } from './plant.js';

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

const chosen = signal<readonly LiveTag[]>([]);
const wanted = signal('');

/** Those chosen stay in sight whatever is searched for. */
const offered = computed(() =>
  liveTags.value.filter((tag) => chosen.value.includes(tag) || isFound(tag, wanted.value)),
);

export const TrendView: FunctionComponent = () => {
  const tags = chosen.value;
  const topics = tags.map(({ about }) => about.topic);
  const { answer, failure } = useAnswer<History>('history', 5000, { topics });
  const toggle = (tag: LiveTag): void => {
    chosen.value = tags.includes(tag) ? tags.filter((other) => other !== tag) : [...tags, tag];
  };
  return (
    <>
      <Failure text={failure} />
      <details open>
        <summary>{say('choose_tags')}</summary>
        <Search text={wanted} hint="search" />
        <div class="choices">
          {offered.value.map((tag) => (
            <label key={tag.about.topic}>
              <input
                type="checkbox"
                checked={tags.includes(tag)}
                disabled={!tags.includes(tag) && tags.length >= TAGS_MAX}
                onChange={() => toggle(tag)}
              />
              {nameOf(tag)}
            </label>
          ))}
        </div>
      </details>
      {answer !== null && tags.length > 0 && (
        <>
          <Chart history={answer} tags={tags} />
          <p>
            <small>{say('zoom_hint')}</small>
          </p>
          <button type="button" onClick={() => download('trend.csv', [csv(answer, topics)])}>
            {say('download_csv')}
          </button>
        </>
      )}
    </>
  );
};

/** Each tag as a band from its lowest to its highest; drag to zoom, double click to see all. */
const Chart: FunctionComponent<{ history: History; tags: readonly LiveTag[] }> = ({ history, tags }) => {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  useEffect(() => {
    let isGone = false;
    void import('uplot').then(({ default: Plot }) => {
      const element = place.current;
      if (!isGone && element !== null)
        plot.current = new Plot(shapeOf(element, tags), dataOf(history, tags), element);
    });
    return () => {
      isGone = true;
      plot.current?.destroy();
      plot.current = null;
    };
  }, [tags]);
  useEffect(() => {
    const { current } = plot;
    if (current === null) return;
    // What somebody zoomed into stays in sight while values come in.
    const [first, last] = [current.data[0][0], current.data[0].at(-1)];
    const isZoomed = current.scales['x']?.min !== first || current.scales['x']?.max !== last;
    current.setData(dataOf(history, tags), !isZoomed);
    if (isZoomed) current.redraw();
  }, [history, tags]);
  return <div class="chart" ref={place} />;
};

function shapeOf(element: Element, tags: readonly LiveTag[]): Options {
  const style = getComputedStyle(element);
  const axis = {
    stroke: style.getPropertyValue('--soft'),
    grid: { stroke: style.getPropertyValue('--line'), width: 1 },
    ticks: { stroke: style.getPropertyValue('--line'), width: 1 },
  };
  const colourOf = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000';
  return {
    width: element.clientWidth,
    height: 360,
    axes: [{ ...axis, values: (_plot, splits) => splits.map((s) => timeText(s * 1000)) }, axis],
    series: [
      { value: (_plot, s) => (s === null ? '' : timeText(s * 1000)) },
      ...tags.flatMap((tag, index) => [
        { label: `${nameOf(tag)} max`, stroke: colourOf(index), width: 1.5, spanGaps: true },
        { label: `${nameOf(tag)} min`, stroke: colourOf(index), width: 0.5, spanGaps: true },
      ]),
    ],
    bands: tags.map((_tag, index) => ({
      series: [1 + 2 * index, 2 + 2 * index] as [number, number],
      fill: `${colourOf(index)}33`,
    })),
    cursor: { drag: { x: true, y: false } },
  };
}

function dataOf({ times, series }: History, tags: readonly LiveTag[]): AlignedData {
  const found = tags.map(({ about }) => series[about.topic]);
  // What was before the first value of any of them is left out.
  const isThere = (at: number): boolean => found.some((one) => (one?.max[at] ?? null) !== null);
  const from = Math.max(
    0,
    times.findIndex((_time, at) => isThere(at)),
  );
  const nothing = times.map(() => null);
  return [
    times.slice(from),
    ...found.flatMap((one) => [(one?.max ?? nothing).slice(from), (one?.min ?? nothing).slice(from)]),
  ];
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
