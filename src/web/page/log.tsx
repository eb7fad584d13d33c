/** The gateway's log, live. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import { say } from './language.js';
import { Failure, Search, Table } from './parts.js';
import { parse } from './plant.js';
import { momentText } from './texts.js';
import { link, request, subscribe, topicOf } from './session.js';

interface Line {
  readonly level: string;
  readonly time: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

const LINES_MAX = 1000;
const LEVELS = ['', 'debug', 'info', 'warn', 'error'] as const;

export const LogView: FunctionComponent = () => {
  const lines = useSignal<readonly Line[]>([]);
  const level = useSignal('');
  const filter = useSignal('');
  const failure = useSignal<string | null>(null);
  const isLive = link.value.state === 'live';
  useEffect(() => {
    if (!isLive) return undefined;
    request<{ lines: readonly Line[] }>('log', {})
      .then((answer) => (lines.value = [...answer.lines].reverse()))
      .catch((error: unknown) => (failure.value = error instanceof Error ? error.message : String(error)));
    return subscribe(topicOf('event', 'log'), (_topic, payload) => {
      const line = parse(payload) as Line | undefined;
      if (line !== undefined) lines.value = [line, ...lines.value].slice(0, LINES_MAX);
    });
  }, [isLive, lines, failure]);
  const wanted = filter.value.toLowerCase();
  const shown = lines.value.filter(
    (line) =>
      (level.value === '' || line.level === level.value) && textOf(line).toLowerCase().includes(wanted),
  );
  return (
    <>
      <div class="tools">
        <select
          aria-label={say('level')}
          value={level.value}
          onChange={(event) => (level.value = event.currentTarget.value)}
        >
          {LEVELS.map((name) => (
            <option key={name} value={name}>
              {name === '' ? say('all') : name}
            </option>
          ))}
        </select>
        <Search text={filter} hint="filter" />
        <button
          type="button"
          onClick={() => void navigator.clipboard.writeText(shown.map(textOf).join('\n'))}
        >
          {say('copy')}
        </button>
      </div>
      <Failure text={failure.value} />
      <Table caption={say('log')} heads={[say('time'), say('level'), say('message')]}>
        {shown.map((line, index) => (
          <tr key={`${line.time} ${index}`} class={line.level}>
            <td class="number">{momentText(line.time)}</td>
            <td>{line.level}</td>
            <td>{textOf(line)}</td>
          </tr>
        ))}
      </Table>
    </>
  );
};

function textOf(line: Line): string {
  const { level: _level, time: _time, msg, ...fields } = line;
  const told = Object.entries(fields).filter(([, value]) => value !== '');
  const rest = told.map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [msg, ...rest].join('  ');
}
