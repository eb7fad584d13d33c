import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { spawn } from '@lydell/node-pty';
import { holdfast, mainFile } from '../support/holdfast.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-passwd-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;
const fresh = (): string => join(folder, `users-${(count += 1)}`);

const set = (file: string, user: string, password: string, ...more: string[]) =>
  holdfast(['passwd', '--file', file, '--password-file', '-', ...more, user], { input: `${password}\n` });

test('a user is added with a salted hash, in a file that only its owner reads', async () => {
  const file = fresh();
  assert.equal((await set(file, 'operator', 'correct horse')).code, 0);
  assert.equal((await set(file, 'scada', 'correct horse', '--groups', 'readers,plant')).code, 0);
  const text = readFileSync(file, 'utf8');
  assert.doesNotMatch(text, /correct horse/);
  const hashes = text
    .trim()
    .split('\n')
    .map((line) => line.split(':')[1]);
  assert.equal(new Set(hashes).size, 2);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const { stdout } = await holdfast(['passwd', '--file', file, '--list']);
  assert.equal(stdout, 'operator\nscada\treaders,plant\n');
});

test(
  'a file that root changes stays with whom it belongs to',
  { skip: process.getuid?.() === 0 ? false : 'only root writes for others' },
  async () => {
    const file = fresh();
    await set(file, 'operator', 'correct horse');
    chownSync(file, 1234, 1235);
    await set(file, 'scada', 'correct horse');
    const { uid, gid, mode } = statSync(file);
    assert.deepEqual([uid, gid, mode & 0o777], [1234, 1235, 0o600]);
  },
);

test('changing and deleting one user leaves every other line as it is', async () => {
  const file = fresh();
  await set(file, 'one', 'password one');
  await set(file, 'two', 'password two', '--groups', 'g');
  writeFileSync(file, `# who may enter\n${readFileSync(file, 'utf8')}`);
  const before = readFileSync(file, 'utf8').split('\n');
  await set(file, 'two', 'another one');
  const now = readFileSync(file, 'utf8').split('\n');
  assert.deepEqual(now.slice(0, 2), before.slice(0, 2));
  assert.notEqual(now[2], before[2]);
  assert.match(now[2] ?? '', /:g$/);
  assert.equal((await holdfast(['passwd', '--file', file, '--delete', 'two'])).code, 0);
  assert.deepEqual(readFileSync(file, 'utf8').split('\n'), [...before.slice(0, 2), '']);
});

test('what cannot be a user, and a password that nobody gave, are usage errors', async () => {
  const file = fresh();
  for (const args of [['a:b'], ['#x'], [], ['--delete', 'nobody'], ['--list']]) {
    assert.equal((await holdfast(['passwd', '--file', file, ...args])).code, 2, args.join(' '));
  }
  const nobodyThere = await holdfast(['passwd', '--file', file, 'operator']);
  assert.equal(nobodyThere.code, 2);
  assert.match(nobodyThere.stderr, /--password-file/);
  assert.equal((await set(file, 'operator', '')).code, 2);
});

test('a file with a line that is none is refused and not touched', async () => {
  const file = fresh();
  writeFileSync(file, 'operator\n');
  const { code, stderr } = await set(file, 'scada', 'some password');
  assert.equal(code, 3);
  assert.ok(stderr.includes(`${file}:1`), stderr);
  assert.equal(readFileSync(file, 'utf8'), 'operator\n');
});

test('a file made by mosquitto_passwd is read and added to', async () => {
  const file = fresh();
  execFileSync('mosquitto_passwd', ['-c', '-b', file, 'old', 'from mosquitto'], { stdio: 'ignore' });
  assert.equal((await set(file, 'young', 'from holdfast')).code, 0);
  const { stdout } = await holdfast(['passwd', '--file', file, '--list']);
  assert.equal(stdout, 'old\nyoung\n');
});

test('at a terminal the password is asked for twice and never shown', async () => {
  const file = fresh();
  const terminal = spawn(process.execPath, [mainFile, 'passwd', '--file', file, 'operator'], {});
  let shown = '';
  terminal.onData((text) => {
    shown += text;
    if (text.includes('password for operator: ')) terminal.write('hidden wordsx\x7f\r');
    if (text.includes('again: ')) terminal.write('hidden words\r');
  });
  const code = await new Promise<number>((resolve) => {
    terminal.onExit(({ exitCode }) => resolve(exitCode));
  });
  assert.equal(code, 0, shown);
  assert.doesNotMatch(shown, /hidden/);
  assert.match(readFileSync(file, 'utf8'), /^operator:\$scrypt\$/);
});
