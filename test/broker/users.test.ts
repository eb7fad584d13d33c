import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type Credentials, userLine, Users, type Verdict } from '../../src/broker/users.js';
import { parseUsers } from '../../src/broker/usersfile.js';
import { ManualClock } from '../support/clock.js';

const with_ = (
  user: string | null,
  password: string | null,
  more: Partial<Credentials> = {},
): Credentials => ({
  user,
  password: password === null ? null : Buffer.from(password),
  host: '10.0.0.9',
  certificateName: null,
  isAnonymousAllowed: false,
  ...more,
});

async function verdict(users: Users, credentials: Credentials): Promise<string> {
  const given: Verdict = await users.check(credentials);
  return 'refused' in given ? given.refused.toString(16) : given.user;
}

async function usersOf(clock = new ManualClock()): Promise<Users> {
  const users = new Users(clock);
  users.set(parseUsers(`# people\n${await userLine('anna', 'right', ['ops', 'night'])}\n`, 'users'));
  return users;
}

describe('the users file', () => {
  test('lines of mosquitto_passwd are read as they are', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-users-'));
    try {
      const file = join(folder, 'passwd');
      execFileSync('mosquitto_passwd', ['-b', '-c', file, 'seven', 'pass word']);
      execFileSync('mosquitto_passwd', ['-b', '-H', 'sha512', file, 'six', 'pässword']);
      const text = readFileSync(file, 'utf8');
      assert.match(text, /^seven:\$7\$/m);
      assert.match(text, /^six:\$6\$/m);
      const users = new Users(new ManualClock());
      users.set(parseUsers(text, file));
      assert.equal(await verdict(users, with_('seven', 'pass word')), 'seven');
      assert.equal(await verdict(users, with_('six', 'pässword')), 'six');
      assert.equal(await verdict(users, with_('seven', 'password')), '86');
      assert.equal(await verdict(users, with_('six', '')), '86');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('any line that is not right refuses the file and says where', () => {
    for (const wrong of ['anna', 'anna:', ':x', 'anna:plain', 'anna:$7$0$YWJj$YWJj', 'a:$6$YWJj$short', 'a:$scrypt$3,8,1$YWJj$YWJj', 'a:b:c:d']) {
      assert.throws(() => parseUsers(`\n${wrong}\n`, 'users.passwd'), /users\.passwd:2: is not/, wrong);
    } // prettier-ignore
  });

  test('groups stand behind the hash', async () => {
    const users = await usersOf();
    assert.deepEqual(users.groupsOf('anna'), ['ops', 'night']);
    const given = await users.check(with_('anna', 'right'));
    assert.deepEqual('groups' in given && given.groups, ['ops', 'night']);
  });
});

describe('logins', () => {
  test('a missing password is not an empty one, and a wrong user is refused like a wrong password', async () => {
    const users = await usersOf();
    assert.equal(await verdict(users, with_('anna', 'right')), 'anna');
    assert.equal(await verdict(users, with_('anna', 'wrong')), '86');
    assert.equal(await verdict(users, with_('anna', null)), '86');
    assert.equal(await verdict(users, with_('bob', 'right')), '86');
    assert.equal(await verdict(users, with_(null, null)), '87');
  });

  test('nobody comes in without a name unless that is allowed', async () => {
    const users = await usersOf();
    assert.equal(await verdict(users, with_(null, null, { isAnonymousAllowed: true })), '');
    assert.equal(await verdict(users, with_('anna', 'wrong', { isAnonymousAllowed: true })), '86');
  });

  test('a verified certificate is a login of its own', async () => {
    const users = await usersOf();
    assert.equal(await verdict(users, with_(null, null, { certificateName: 'anna' })), 'anna');
  });

  test('an address that guesses has to wait, longer each time, but for credentials already proven', async () => {
    const clock = new ManualClock();
    const users = await usersOf(clock);
    assert.equal(await verdict(users, with_('anna', 'right')), 'anna');
    for (let i = 0; i < 5; i++) assert.equal(await verdict(users, with_('anna', `guess${i}`)), '86');
    assert.equal(await verdict(users, with_('anna', 'guess')), '89');
    assert.equal(await verdict(users, with_('anna', 'right')), 'anna');
    assert.equal(await verdict(users, with_('anna', 'guess', { host: '10.0.0.10' })), '86');
    clock.advance(1100);
    assert.equal(await verdict(users, with_('anna', 'guess')), '86');
    clock.advance(1100);
    assert.equal(await verdict(users, with_('anna', 'guess')), '89');
    clock.advance(1000);
    assert.equal(await verdict(users, with_('anna', 'guess')), '86');
  });

  test('guesses that come all at once are no more than those that come one after the other', async () => {
    const users = await usersOf(new ManualClock());
    const guesses = Array.from({ length: 12 }, (_, i) => verdict(users, with_('anna', `guess${i}`)));
    const other = verdict(users, with_('anna', 'right', { host: '10.0.0.10' }));
    assert.deepEqual(await Promise.all(guesses), [...Array(5).fill('86'), ...Array(7).fill('89')]);
    assert.equal(await other, 'anna');
  });

  test('a flood of logins is refused beyond its bound, and those waiting are answered', async () => {
    const users = new Users(new ManualClock());
    const salt = Buffer.from('salt');
    const hash = createHash('sha512').update('right').update(salt).digest('base64');
    users.set(parseUsers(`quick:$6$${salt.toString('base64')}$${hash}`, 'users'));
    const all = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        verdict(users, with_(`nobody${i}`, 'x', { host: `10.0.1.${i}` })),
      ),
    );
    assert.ok(all.every((one) => one === '86' || one === '89'));
    assert.ok(all.filter((one) => one === '89').length >= 100);
  });

  test('new users count at once, and proofs of the old ones do not', async () => {
    const users = await usersOf();
    assert.equal(await verdict(users, with_('anna', 'right')), 'anna');
    users.set(parseUsers(await userLine('anna', 'changed'), 'users'));
    assert.equal(await verdict(users, with_('anna', 'right')), '86');
    assert.equal(await verdict(users, with_('anna', 'changed')), 'anna');
  });
});
