/** Who is there? The same users as for every other MQTT client. */
import type { FunctionComponent } from 'preact';
import { useState } from 'preact/hooks';
import { say } from './language.js';
import { Failure } from './parts.js';
import { link, signIn } from './session.js';

export const LoginView: FunctionComponent = () => {
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  return (
    <main class="login">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          signIn(user, password);
        }}
      >
        <h1>holdfast</h1>
        <label>
          {say('user')}
          <input
            name="user"
            autocomplete="username"
            required
            value={user}
            onInput={(event) => setUser(event.currentTarget.value)}
          />
        </label>
        <label>
          {say('password')}
          <input
            name="password"
            type="password"
            autocomplete="current-password"
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </label>
        <Failure text={link.value.state === 'refused' ? say('refused_login') : null} />
        <button type="submit">{say('sign_in')}</button>
      </form>
    </main>
  );
};
