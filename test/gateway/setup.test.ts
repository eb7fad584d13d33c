import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connectAsync } from 'mqtt';
import { parseUsers } from '../../src/broker/usersfile.js';
import { Setup } from '../../src/gateway/setup.js';
import { silentLog, type Log } from '../../src/log.js';
import { ManualClock } from '../support/clock.js';
import { Daemon } from '../support/daemon.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-setup-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

interface Begun {
  readonly setup: Setup;
  readonly file: string;
  readonly codes: string[];
  readonly made: () => number;
}

const OWNER = '10.0.0.2';
const STRANGER = '10.0.0.9';

function begin(clock = new ManualClock()): Begun {
  const file = join(folder, `users-${(count += 1)}`);
  const codes: string[] = [];
  const log: Log = { ...silentLog, warn: (_text, fields) => codes.push(String(fields?.['code'])) };
  let made = 0;
  const setup = new Setup(file, log, clock, () => (made += 1));
  return { setup, file, codes, made: () => made };
}

const PASSWORD = 'correct horse';

test('the code from the log makes the first user, once, in a file that only its owner reads', async () => {
  const { setup, file, codes, made } = begin();
  const [code = ''] = codes;
  assert.match(code, /^[A-Z2-9]{5}-[A-Z2-9]{5}$/);
  // As people type it.
  const typed = code.toLowerCase().replace('-', ' ');
  assert.equal(await setup.make({ code: typed, user: 'ops', password: PASSWORD }, OWNER), null);
  assert.deepEqual([...parseUsers(readFileSync(file, 'utf8'), file).keys()], ['ops']);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(made(), 1);
  assert.match(String(await setup.make({ code, user: 'other', password: PASSWORD }, OWNER)), /already/);
});

test('the code is told to no client, whatever it may read', async (context) => {
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  users_file: users.passwd
  access: [{ allow: [read, write], topic: "holdfast/gw/#" }]
web: { host: 127.0.0.1, port: 0 }
`);
  context.after(() => daemon.remove());
  await daemon.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  context.after(() => client.endAsync(true));
  let seen = '';
  client.on('message', (_topic, payload) => (seen += payload.toString()));
  await client.subscribeAsync('holdfast/gw/#');
  const guess = JSON.stringify({ code: 'WRONG', user: 'ops', password: PASSWORD });
  for (let tries = 0; tries < 5; tries += 1)
    await fetch(`http://127.0.0.1:${daemon.port('http')}/setup`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: guess,
    });
  await until('a new code', () => daemon.logged(/no user yet/).length === 2);
  // What is logged after it is told, and so are the lines of before.
  await client.publishAsync('holdfast/gw/req/reload', '');
  await until('a line of the log', () => /"msg":"the config /.test(seen));
  await client.publishAsync('holdfast/gw/req/log', '');
  await until('all lines', () => /"lines":/.test(seen));
  for (const line of daemon.logged(/no user yet/)) assert.ok(!seen.includes(String(line['code'])), seen);
});

test('two gateways never have the same code, and two who hurry make one user', async () => {
  const { setup, file, codes } = begin();
  assert.notEqual(codes[0], begin().codes[0]);
  const both = ['one', 'two'].map((user) =>
    setup.make({ code: codes[0] ?? '', user, password: PASSWORD }, OWNER),
  );
  assert.deepEqual(await Promise.all(both), [null, 'there is a user already']);
  assert.deepEqual([...parseUsers(readFileSync(file, 'utf8'), file).keys()], ['one']);
});

test('a code that was guessed at is worth nothing any more', async () => {
  const { setup, file, codes } = begin();
  for (let i = 0; i < 5; i += 1) {
    assert.match(
      String(await setup.make({ code: 'AAAAA-AAAAA', user: 'ops', password: PASSWORD }, STRANGER)),
      /code/,
    );
  }
  assert.equal(codes.length, 2);
  assert.match(
    String(await setup.make({ code: codes[0] ?? '', user: 'ops', password: PASSWORD }, OWNER)),
    /code/,
  );
  assert.equal(existsSync(file), false);
  assert.equal(await setup.make({ code: codes[1] ?? '', user: 'ops', password: PASSWORD }, OWNER), null);
});

test('who guesses has to wait, and keeps nobody else out', async () => {
  const clock = new ManualClock();
  const { setup, codes } = begin(clock);
  const make = (code: string, host: string): Promise<string | null> =>
    setup.make({ code, user: 'ops', password: PASSWORD }, host);
  for (let i = 0; i < 1000; i += 1) await make('AAAAA-AAAAA', STRANGER);
  assert.equal(codes.length, 2, 'a line of the log for five guesses that were looked at');
  assert.match(String(await make(codes[1] ?? '', STRANGER)), /wait/);
  clock.advance(60_000);
  assert.match(String(await make('AAAAA-AAAAA', STRANGER)), /not right/);
  assert.equal(await make(codes[1] ?? '', OWNER), null);
});

test('a short password and what cannot be a user name are refused', async () => {
  const { setup, file, codes } = begin();
  const code = codes[0] ?? '';
  assert.match(String(await setup.make({ code, user: 'ops', password: 'short' }, OWNER)), /at least 8/);
  assert.match(String(await setup.make({ code, user: 'a:b', password: PASSWORD }, OWNER)), /colon/);
  assert.match(String(await setup.make({ code, user: '', password: PASSWORD }, OWNER)), /name/);
  assert.equal(existsSync(file), false);
});
