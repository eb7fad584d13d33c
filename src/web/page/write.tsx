/** The write dialog: old value, new value, limits, a confirmation, and what the device made of it. */
import type { FunctionComponent } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { say } from './language.js';
import { Failure } from './parts.js';
import type { LiveTag } from './plant.js';
import { command } from './session.js';

export const WriteDialog: FunctionComponent<{ tag: LiveTag; onClose: () => void }> = ({ tag, onClose }) => {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState(firstOf(tag));
  const [state, setState] = useState<{ kind: 'ask' | 'sending' | 'done'; text: string | null }>({
    kind: 'ask',
    text: null,
  });
  useEffect(() => dialog.current?.showModal(), []);
  const problem = problemOf(tag, text);

  const send = (event: Event): void => {
    event.preventDefault();
    if (problem !== null || text === null) return;
    setState({ kind: 'sending', text: null });
    command(tag.about.setTopic, jsonOf(tag, text))
      .then((ack) =>
        setState(
          ack.ok
            ? { kind: 'done', text: say('written', { value: String(ack.v) }) }
            : {
                kind: 'ask',
                text: say('refused_write', { error: `${ack.error ?? ''} (${ack.code ?? ''})` }),
              },
        ),
      )
      .catch((error: unknown) =>
        setState({ kind: 'ask', text: error instanceof Error ? error.message : String(error) }),
      );
  };

  const { write } = tag.about;
  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="write-title">
      <form onSubmit={send}>
        <h2 id="write-title">{say('write_title', { tag: `${tag.device}/${tag.about.name}` })}</h2>
        <p>
          {say('old_value')}: <b>{tag.sample.value?.value ?? '–'}</b> {tag.about.unit}
        </p>
        <label>
          {say('new_value')}
          <Entry tag={tag} text={text} setText={setText} />
        </label>
        {tag.about.flags !== null && <p>{say('flags_hint', { names: tag.about.flags.join(', ') })}</p>}
        {write !== null && (write.min !== null || write.max !== null) && (
          <p>{say('limits', { min: write.min ?? '−∞', max: write.max ?? '∞' })}</p>
        )}
        {state.kind === 'done' ? <p role="status">{state.text}</p> : <Failure text={state.text ?? problem} />}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            {say(state.kind === 'done' ? 'close' : 'cancel')}
          </button>
          <button type="submit" class="primary" disabled={problem !== null || state.kind === 'sending'}>
            {say(state.kind === 'sending' ? 'sending' : 'confirm_write')}
          </button>
        </div>
      </form>
    </dialog>
  );
};

/** Text null: nothing that could be written, which must not look as if something were chosen. */
const Entry: FunctionComponent<{
  tag: LiveTag;
  text: string | null;
  setText: (text: string) => void;
}> = ({ tag, text, setText }) => {
  const choices = choicesOf(tag);
  if (choices === null) {
    return (
      <input
        name="value"
        autofocus
        value={text ?? ''}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    );
  }
  return (
    <select
      name="value"
      autofocus
      value={text ?? ''}
      onChange={(event) => setText(event.currentTarget.value)}
    >
      {text === null && (
        <option value="" disabled>
          –
        </option>
      )}
      {choices.map((choice) => (
        <option key={choice}>{choice}</option>
      ))}
    </select>
  );
};

function choicesOf({ about }: LiveTag): readonly string[] | null {
  return about.enum ?? (about.type === 'bool' ? ['false', 'true'] : null);
}

/** What it is now, where that could be written. */
function firstOf(tag: LiveTag): string | null {
  const value = tag.sample.value?.value ?? null;
  return value !== null && choicesOf(tag)?.includes(value) === false ? null : value;
}

function problemOf(tag: LiveTag, text: string | null): string | null {
  const isNumber = !tag.about.isText && tag.about.type !== 'bool';
  if (!isNumber) return text === null ? say('no_new_value') : null;
  const number = Number(text);
  if (text === null || text.trim() === '' || !Number.isFinite(number)) return say('not_a_number');
  const { min, max } = tag.about.write ?? { min: null, max: null };
  return (min !== null && number < min) || (max !== null && number > max) ? say('outside') : null;
}

/** The bare JSON value. Whole numbers go as they were typed, so that 64-bit integers lose no digit; .5 and +5 are no JSON. */
function jsonOf(tag: LiveTag, text: string): string {
  if (tag.about.isText) return JSON.stringify(text);
  const typed = text.trim();
  const isJson = tag.about.type === 'bool' || /^-?(0|[1-9]\d*)$/.test(typed);
  return isJson ? typed : JSON.stringify(Number(typed));
}
