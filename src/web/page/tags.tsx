/** Home: every tag with value, quality, age and its last minutes; search, only what is bad, and writing. */
import { computed, signal, useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { nowMs } from './clock.js';
import { say } from './language.js';
import { Failure, Quality, Search, Sparkline, Table } from './parts.js';
import {
  deviceStates,
  isFound,
  liveTags,
  nameOf,
  qualityNow,
  type LiveTag,
  type QualityWord,
} from './plant.js';
import { isPlantDenied, link } from './session.js';
import { ageText, valueText } from './texts.js';
import { WriteDialog } from './write.js';

const search = signal('');
const onlyBad = signal(false);
const writing = signal<LiveTag | null>(null);

const shown = computed(() => {
  return liveTags.value.filter((tag) => {
    if (!isFound(tag, search.value)) return false;
    return !onlyBad.value || tag.sample.value?.quality !== 'good';
  });
});

/** Those shown, by device, in the order of the config. */
const groups = computed(() => {
  const found = new Map<string, LiveTag[]>();
  for (const tag of shown.value) {
    const tags = found.get(tag.device);
    if (tags === undefined) found.set(tag.device, [tag]);
    else tags.push(tag);
  }
  return [...found];
});

/** How many tags are how good, once a second. */
const counts = computed(() => {
  void nowMs.value;
  const found = new Map<QualityWord | 'waiting', number>();
  for (const tag of liveTags.value) {
    const sample = tag.sample.peek();
    const word = sample === null ? 'waiting' : qualityNow(sample, link.value.state === 'live');
    found.set(word, (found.get(word) ?? 0) + 1);
  }
  return [...found];
});

export const TagsView: FunctionComponent = () => (
  <div class="tags">
    <div class="tools">
      <Search text={search} hint="search" />
      <Counts />
      <label>
        <input
          type="checkbox"
          checked={onlyBad.value}
          onChange={(event) => (onlyBad.value = event.currentTarget.checked)}
        />
        {say('only_bad')}
      </label>
    </div>
    <Failure text={isPlantDenied.value ? say('denied') : null} />
    <Table
      caption={say('tags')}
      heads={[say('name'), say('value'), say('quality'), say('age'), say('recent'), say('write')]}
      isGrouped
    >
      {groups.value.map(([device, tags]) => (
        <tbody key={device}>
          <Head device={device} />
          {tags.map((tag) => (
            <Row key={tag.about.topic} tag={tag} />
          ))}
        </tbody>
      ))}
    </Table>
    {writing.value !== null && <WriteDialog tag={writing.value} onClose={() => (writing.value = null)} />}
  </div>
);

const Counts: FunctionComponent = () => (
  <p class="counts">
    {counts.value.map(([word, count]) => (
      <span key={word}>
        {count} <Quality word={word} />
      </span>
    ))}
  </p>
);

const Head: FunctionComponent<{ device: string }> = ({ device }) => {
  const state = deviceStates.value.get(device)?.state ?? 'unknown';
  return (
    <tr class="group">
      <th scope="rowgroup" colSpan={6}>
        {device} <small class={state}>{say(state)}</small>
      </th>
    </tr>
  );
};

/** Rows out of sight are not kept up to date: with thousands of tags that is most of the work. */
const observed = new WeakMap<Element, (isVisible: boolean) => void>();
const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) observed.get(entry.target)?.(entry.isIntersecting);
  },
  { rootMargin: '200px' },
);

const Row: FunctionComponent<{ tag: LiveTag }> = ({ tag }) => {
  const row = useRef<HTMLTableRowElement>(null);
  const isVisible = useSignal(false);
  useEffect(() => {
    const element = row.current;
    if (element === null) return undefined;
    observed.set(element, (visible) => (isVisible.value = visible));
    observer.observe(element);
    return () => observer.unobserve(element);
  }, [isVisible]);
  return (
    <tr ref={row}>
      <th scope="row" aria-label={nameOf(tag)}>
        {tag.about.name}
      </th>
      {isVisible.value ? <Live tag={tag} /> : <td colSpan={5} />}
    </tr>
  );
};

const Live: FunctionComponent<{ tag: LiveTag }> = ({ tag }) => {
  const sample = tag.sample.value;
  const word = sample === null ? 'waiting' : qualityNow(sample, link.value.state === 'live');
  return (
    <>
      <td class="value" title={sample?.value ?? ''}>
        {(sample?.value ?? null) === null ? '–' : valueText(sample?.value ?? '', tag.about.type)}{' '}
        {(sample?.value ?? null) !== null && <small>{tag.about.unit}</small>}
      </td>
      <td>
        <Quality word={word} reason={sample?.reason ?? ''} />
      </td>
      <td class="age wide">{sample === null ? '' : ageText(nowMs.value - sample.timeMs)}</td>
      <td class="wide">
        <Sparkline tag={tag} />
      </td>
      <td>
        {tag.about.write !== null && (
          <button
            type="button"
            aria-label={say('write_title', { tag: tag.about.name })}
            onClick={() => (writing.value = tag)}
          >
            {say('write')}
          </button>
        )}
      </td>
    </>
  );
};
