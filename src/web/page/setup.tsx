/** The first run: whoever has the one-time code from the log makes the first user. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { say, type Key } from './language.js';
import { Failure } from './parts.js';
import { makeFirstUser } from './session.js';

const FIELDS = [
  { name: 'code', label: 'setup_code', type: 'text', autocomplete: 'one-time-code' },
  { name: 'user', label: 'user', type: 'text', autocomplete: 'username' },
  { name: 'password', label: 'password', type: 'password', autocomplete: 'new-password' },
  { name: 'again', label: 'password_again', type: 'password', autocomplete: 'new-password' },
] as const satisfies { name: string; label: Key; type: string; autocomplete: string }[];

export const SetupView: FunctionComponent = () => {
  const failure = useSignal<string | null>(null);
  const submit = (form: HTMLFormElement): void => {
    const given = new FormData(form);
    const [code = '', user = '', password = '', again = ''] = FIELDS.map(({ name }) =>
      String(given.get(name)),
    );
    if (password !== again) {
      failure.value = say('passwords_differ');
      return;
    }
    makeFirstUser(code, user, password)
      .then((refused) => (failure.value = refused))
      .catch(() => (failure.value = say('no_answer')));
  };
  return (
    <main class="login">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit(event.currentTarget);
        }}
      >
        <h1>{say('setup')}</h1>
        <p>{say('setup_hint')}</p>
        {FIELDS.map(({ name, label, type, autocomplete }) => (
          <label key={name}>
            {say(label)}
            {type === 'text' ? (
              <input type="text" name={name} autocomplete={autocomplete} required />
            ) : (
              <input type="password" name={name} autocomplete={autocomplete} required />
            )}
          </label>
        ))}
        <Failure text={failure.value} />
        <button type="submit">{say('make_user')}</button>
      </form>
    </main>
  );
};
