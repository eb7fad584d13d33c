/** The gateway file in a plain editor: checked by the gateway with the same words as `holdfast check`, applied without a restart. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { say } from './language.js';
import { Failure } from './parts.js';
import { link, request } from './session.js';

interface Problem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly code: string;
  readonly path: string;
  readonly text: string;
}

interface Checked {
  readonly problems: readonly Problem[];
}

interface Applied extends Checked {
  readonly applied: boolean;
  /** The file was not any more what it was when it was shown. */
  readonly changed?: boolean;
  /** The file as it is now. */
  readonly text: string;
}

/** A small router takes long for some thousand tags, and who hears nothing believes that nothing was applied. */
const ANSWER_TIMEOUT_MS = 60_000;

export const ConfigView: FunctionComponent = () => {
  const file = useSignal('');
  const running = useSignal('');
  const text = useSignal('');
  const problems = useSignal<readonly Problem[]>([]);
  const status = useSignal<string | null>(null);
  const failure = useSignal<string | null>(null);
  const top = useSignal(0);
  const editor = useRef<HTMLTextAreaElement>(null);

  const ask = <T,>(verb: string, body: Record<string, unknown>, then: (answer: T) => void): void => {
    status.value = null;
    request<T>(verb, body, ANSWER_TIMEOUT_MS)
      .then((answer) => {
        failure.value = null;
        then(answer);
      })
      .catch((error: unknown) => (failure.value = error instanceof Error ? error.message : String(error)));
  };

  const isLive = link.value.state === 'live';
  useEffect(() => {
    // What was typed since must stay.
    if (!isLive || text.value !== running.value) return;
    ask<{ text: string; file: string }>('config', {}, (answer) => {
      if (text.value !== running.value) return;
      file.value = answer.file;
      running.value = answer.text;
      text.value = answer.text;
    });
  }, [isLive]);

  const check = (): void =>
    ask<Checked>('config-check', { text: text.value }, (answer) => {
      problems.value = answer.problems;
      if (answer.problems.length === 0) status.value = say('config_good');
    });
  const apply = (): void =>
    ask<Applied>('config-apply', { text: text.value, was: running.value }, (answer) => {
      problems.value = answer.problems;
      running.value = answer.text;
      if (answer.changed === true) failure.value = say('config_changed');
      if (!answer.applied) return;
      text.value = answer.text;
      status.value = say('config_applied');
    });
  const revert = (): void => {
    text.value = running.value;
    problems.value = [];
    status.value = null;
    failure.value = null;
  };
  const goTo = ({ line, column }: Problem): void => {
    const before = text.value.split('\n').slice(0, line - 1);
    const at = before.join('\n').length + (before.length > 0 ? 1 : 0) + column - 1;
    editor.current?.focus();
    editor.current?.setSelectionRange(at, at);
  };

  return (
    <>
      <div class="tools">
        <button type="button" onClick={check}>
          {say('check')}
        </button>
        <button type="button" class="primary" disabled={text.value === running.value} onClick={apply}>
          {say('apply')}
        </button>
        <button type="button" disabled={text.value === running.value} onClick={revert}>
          {say('revert')}
        </button>
        <span role="status">
          {status.value ??
            (problems.value.length > 0 ? say('problems', { count: problems.value.length }) : '')}
        </span>
      </div>
      <Failure text={failure.value} />
      <ul class="problems">
        {problems.value.map((problem) => (
          <li
            key={`${problem.file}:${problem.line}:${problem.column} ${problem.code} ${problem.path}`}
            class={problem.severity}
          >
            {problem.file === file.value ? (
              <button type="button" onClick={() => goTo(problem)}>
                {problem.line}:{problem.column}
              </button>
            ) : (
              `${problem.file}:${problem.line}:${problem.column}`
            )}{' '}
            <code>{problem.code}</code> {problem.path}: {problem.text}
          </li>
        ))}
      </ul>
      <div class="editor">
        <Gutter
          text={text.value}
          problems={problems.value.filter((problem) => problem.file === file.value)}
          top={top.value}
        />
        <textarea
          ref={editor}
          aria-label={say('running_config')}
          spellcheck={false}
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
          onScroll={(event) => (top.value = event.currentTarget.scrollTop)}
        />
      </div>
    </>
  );
};

/** Line numbers, and which lines have problems; for eyes only, as the list of problems says all of it. */
const Gutter: FunctionComponent<{ text: string; problems: readonly Problem[]; top: number }> = (props) => {
  const marks = new Map(props.problems.map(({ line, severity }) => [line, severity]));
  const count = props.text.split('\n').length;
  return (
    <div class="gutter" aria-hidden="true">
      <pre style={{ transform: `translateY(-${props.top}px)` }}>
        {Array.from({ length: count }, (_none, index) => {
          const mark = marks.get(index + 1);
          return mark === undefined ? `${index + 1}\n` : <b key={index} class={mark}>{`${index + 1}\n`}</b>;
        })}
      </pre>
    </div>
  );
};
