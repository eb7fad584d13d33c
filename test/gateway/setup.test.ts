import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseUsers } from '../../src/broker/users.js';
import { Setup } from '../../src/gateway/setup.js';
import { silentLog, type Log } from '../../src/log.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-setup-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

function begin(): { setup: Setup; file: string; codes: string[]; made: () => number } {
  const file = join(folder, `users-${(count += 1)}`);
  const codes: string[] = [];
  const log: Log = { ...silentLog, warn: (_text, fields) => codes.push(String(fields?.['code'])) };
  let made = 0;
  const setup = new Setup(file, log, () => (made += 1));
  return { setup, file, codes, made: () => made };
}

const PASSWORD = 'correct horse';

test('the code from the log makes the first user, once, in a file that only its owner reads', async () => {
  const { setup, file, codes, made } = begin();
  const [code = ''] = codes;
  assert.match(code, /^[A-Z2-9]{5}-[A-Z2-9]{5}$/);
  // As people type it.
  const typed = code.toLowerCase().replace('-', ' ');
  assert.equal(await setup.make({ code: typed, user: 'ops', password: PASSWORD }), null);
  assert.deepEqual([...parseUsers(readFileSync(file, 'utf8'), file).keys()], ['ops']);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(made(), 1);
  assert.match(String(await setup.make({ code, user: 'other', password: PASSWORD })), /already/);
});

test('two gateways never have the same code, and two who hurry make one user', async () => {
  const { setup, file, codes } = begin();
  assert.notEqual(codes[0], begin().codes[0]);
  const both = ['one', 'two'].map((user) => setup.make({ code: codes[0] ?? '', user, password: PASSWORD }));
  assert.deepEqual(await Promise.all(both), [null, 'there is a user already']);
  assert.deepEqual([...parseUsers(readFileSync(file, 'utf8'), file).keys()], ['one']);
});

test('a code that was guessed at is worth nothing any more', async () => {
  const { setup, file, codes } = begin();
  for (let i = 0; i < 5; i += 1) {
    assert.match(String(await setup.make({ code: 'AAAAA-AAAAA', user: 'ops', password: PASSWORD })), /code/);
  }
  assert.equal(codes.length, 2);
  assert.match(String(await setup.make({ code: codes[0] ?? '', user: 'ops', password: PASSWORD })), /code/);
  assert.equal(existsSync(file), false);
  assert.equal(await setup.make({ code: codes[1] ?? '', user: 'ops', password: PASSWORD }), null);
});

test('a short password and what cannot be a user name are refused', async () => {
  const { setup, file, codes } = begin();
  const code = codes[0] ?? '';
  assert.match(String(await setup.make({ code, user: 'ops', password: 'short' })), /at least 8/);
  assert.match(String(await setup.make({ code, user: 'a:b', password: PASSWORD })), /colon/);
  assert.match(String(await setup.make({ code, user: '', password: PASSWORD })), /name/);
  assert.equal(existsSync(file), false);
});
