/** Home: every tag with value, quality, age and its last minutes; search, only what is bad, and writing. */
import { computed, signal, useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { say } from './language.js';
import { Quality, Search, Sparkline, Table } from './parts.js';
import { isFound, liveTags, nowMs, qualityNow, type LiveTag } from './plant.js';
import { link } from './session.js';
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

export const TagsView: FunctionComponent = () => (
  <>
    <div class="tools">
      <Search text={search} hint="search" />
      <label>
        <input
          type="checkbox"
          checked={onlyBad.value}
          onChange={(event) => (onlyBad.value = event.currentTarget.checked)}
        />
        {say('only_bad')}
      </label>
    </div>
    <Table
      caption={say('tags')}
      heads={[say('name'), say('value'), say('quality'), say('age'), say('recent'), say('write')]}
    >
      {shown.value.map((tag) => (
        <Row key={tag.about.topic} tag={tag} />
      ))}
    </Table>
    {writing.value !== null && <WriteDialog tag={writing.value} onClose={() => (writing.value = null)} />}
  </>
);

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
      <th scope="row">
        <small>{tag.device}/</small>
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
      <td class="value">
        {sample?.value == null ? '–' : valueText(sample.value, tag.about.type)}{' '}
        {sample?.value != null && <small>{tag.about.unit}</small>}
      </td>
      <td>
        <Quality word={word} reason={sample?.reason ?? ''} />
      </td>
      <td class="age">{sample === null ? '' : ageText(nowMs.value - sample.timeMs)}</td>
      <td>
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
