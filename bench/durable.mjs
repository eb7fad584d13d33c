/**
 * `npm run bench:durable [-- --quick] [--folder DIR]`: what keeping a promise costs. QoS 1 messages for an offline
 * persistent session, acknowledged a second with 1, 10 and 100 publishers; bytes written and syncs for each; the flash
 * budget at 1,000 messages a second; and how long a start takes after a kill. mosquitto is measured in the same run.
 * The folder must be on a real disk: a memory file system is refused, because it syncs for nothing.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asked } from '../scripts/options.mjs';
import { buildIfStale, fail, install, root } from '../scripts/prepare.mjs';

const { options } = asked('npm run bench:durable -- [--quick] [--folder DIR] [--only REGEXP]', {
  quick: { type: 'boolean', default: false },
  folder: { type: 'string', default: tmpdir() },
  only: { type: 'string', default: '.' },
});
const SECONDS = options.quick ? 2 : 5;
const PUBLISHERS = [1, 10, 100];
const WINDOW = 20;
const PAYLOAD = 64;

install();
await buildIfStale();
const folder = mkdtempSync(join(options.folder, 'holdfast-durable-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const fileSystem = execFileSync('stat', ['-f', '-c', '%T', folder]).toString().trim();
if (/tmpfs|ramfs/.test(fileSystem))
  fail(`${folder} is on ${fileSystem}, which forgets; name a folder on a disk with --folder`);
console.log(
  `file system: ${fileSystem} (${folder}); one fdatasync of 4 KiB takes ${await syncMs()} ms here\n`,
);

// ---------------------------------------------------------------- brokers

const STORES = {
  'holdfast, sync: commit': 'store: { path: DATA, sync: commit }',
  'holdfast, sync: interval': 'store: { path: DATA, sync: interval, interval: 5s }',
  'holdfast, store: memory': 'store: memory',
};
const MOSQUITTO =
  'allow_anonymous true\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\nuser root\n';
const PERSISTENCE = {
  'mosquitto, autosave_on_changes': 'persistence true\nautosave_on_changes true\nautosave_interval 1\n',
  'mosquitto, persistence default': 'persistence true\n',
  'mosquitto, no persistence': 'persistence false\n',
};
let runs = 0;

async function startHoldfast(store, path = join(folder, `run${++runs}`)) {
  mkdirSync(path, { recursive: true });
  const [port, web] = [await freePort(), await freePort()];
  const config = join(path, 'holdfast.yaml');
  writeFileSync(
    config,
    `version: 1\ngateway: { id: bench }\nbroker:\n  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: ${port} }]\n  anonymous: true\n  ${store.replace('DATA', join(path, 'data'))}\nweb: { host: 127.0.0.1, port: ${web} }\n`,
  );
  const startedMs = performance.now();
  const child = spawn(process.execPath, [join(root, 'dist/main.js'), 'run', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (bytes) => (log += bytes));
  await until(() => log.includes('"ready"') || child.exitCode !== null);
  if (child.exitCode !== null) fail(`holdfast did not start:\n${log}`);
  const metrics = async () => {
    const text = await (await fetch(`http://127.0.0.1:${web}/metrics`)).text();
    return (name) =>
      Number(new RegExp(`^(?:holdfast_)?${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1] ?? NaN);
  };
  return {
    child,
    port,
    path,
    readyMs: performance.now() - startedMs,
    syncs: async () => (await metrics())('store_syncs_total'),
  };
}

async function startMosquitto(persistence) {
  const path = join(folder, `run${++runs}`);
  mkdirSync(path, { mode: 0o777 });
  const port = await freePort();
  const config = join(path, 'mosquitto.conf');
  writeFileSync(
    config,
    `listener ${port} 127.0.0.1\n${MOSQUITTO}${persistence}persistence_location ${path}/\n`,
  );
  const child = spawn('mosquitto', ['-c', config], { stdio: 'ignore' });
  await until(() => canConnect(port));
  return { child, port, path, syncs: async () => NaN };
}

async function stop({ child }) {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

const writtenBy = ({ pid }) =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))[1]);
const cpuMsOf = ({ pid }) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

// ---------------------------------------------------------------- clients: MQTT 3.1.1, as few bytes as will do

function text(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

function packet(first, ...parts) {
  const body = Buffer.concat(parts);
  const length = [];
  for (let left = body.length; ; left = left >> 7) {
    length.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

/** Connects with a session that is kept, and calls back for each packet. */
function client(port, clientId, received) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => {});
  let rest = Buffer.alloc(0);
  return new Promise((resolve) => {
    socket.on('data', (bytes) => {
      rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      for (;;) {
        let at = 1;
        let length = 0;
        for (let shift = 0; at < rest.length; shift += 7) {
          length |= (rest[at] & 127) << shift;
          if (rest[at++] < 128) break;
        }
        if (rest.length < 2 || at + length > rest.length) break;
        if (rest[0] === 0x20) resolve(socket);
        else received(rest[0], rest.subarray(at, at + length), socket);
        rest = rest.subarray(at + length);
      }
    });
    socket.write(packet(0x10, text('MQTT'), Buffer.from([4, 0, 0, 0]), text(clientId)));
  });
}

/** Subscribes at QoS 1; with `stay` it goes on taking messages. */
async function subscriber(port, clientId, filter, stay) {
  let done;
  const subscribed = new Promise((resolve) => (done = resolve));
  const socket = await client(port, clientId, (first, body, from) => {
    if (first === 0x90) done();
    if ((first & 0xf6) === 0x32) {
      const at = 2 + body.readUInt16BE(0);
      from.write(Buffer.from([0x40, 2, body[at], body[at + 1]]));
    }
  });
  socket.write(packet(0x82, Buffer.from([0, 1]), text(filter), Buffer.from([1])));
  await subscribed;
  if (!stay) await new Promise((resolve) => socket.end(Buffer.from([0xe0, 0]), () => resolve()));
  return socket;
}

/** Publishes at QoS 1 and counts PUBACKs; `send(topic)` sends one. */
async function publisher(port, clientId, acknowledged, retain = false) {
  const sentAt = new Float64Array(65536);
  let id = 0;
  const socket = await client(port, clientId, (first, body) => {
    if (first === 0x40) acknowledged(performance.now() - sentAt[body.readUInt16BE(0)]);
  });
  const payload = Buffer.alloc(PAYLOAD, 'x');
  return {
    socket,
    send(topic) {
      id = (id % 65535) + 1;
      sentAt[id] = performance.now();
      socket.write(packet(retain ? 0x33 : 0x32, text(topic), Buffer.from([id >> 8, id & 255]), payload));
    },
  };
}

// ---------------------------------------------------------------- scenarios

async function throughput(start, count) {
  const broker = await start();
  await subscriber(broker.port, 'away', 'bench/#', false);
  let total = 0;
  let isOver = false;
  const publishers = [];
  for (let index = 0; index < count; index++) {
    const own = await publisher(broker.port, `pub${index}`, () => {
      total++;
      if (!isOver) own.send(`bench/pub${index}`);
    });
    publishers.push(own);
  }
  for (const [index, { send }] of publishers.entries())
    for (let n = 0; n < WINDOW; n++) send(`bench/pub${index}`);
  await sleep(500);
  const before = {
    total,
    bytes: writtenBy(broker.child),
    cpu: cpuMsOf(broker.child),
    syncs: await broker.syncs(),
    ms: performance.now(),
  };
  await sleep(SECONDS * 1000);
  const seconds = (performance.now() - before.ms) / 1000;
  const acknowledged = total - before.total;
  const row = {
    perSecond: acknowledged / seconds,
    bytes: (writtenBy(broker.child) - before.bytes) / acknowledged,
    syncs: ((await broker.syncs()) - before.syncs) / acknowledged,
    cpuUs: ((cpuMsOf(broker.child) - before.cpu) * 1000) / acknowledged,
  };
  isOver = true;
  for (const { socket } of publishers) socket.destroy();
  await stop(broker);
  return row;
}

/** 1,000 messages a second to four persistent sessions that are there. */
async function budget() {
  const broker = await startHoldfast(STORES['holdfast, sync: commit']);
  for (let index = 0; index < 4; index++) await subscriber(broker.port, `sub${index}`, 'bench/#', true);
  const delays = [];
  const publishers = [];
  for (let index = 0; index < 10; index++) {
    publishers.push(await publisher(broker.port, `pub${index}`, (ms) => delays.push(ms)));
  }
  const before = { bytes: writtenBy(broker.child), syncs: await broker.syncs(), ms: performance.now() };
  const forMs = SECONDS * 2000;
  for (let sent = 0; performance.now() - before.ms < forMs;) {
    for (; sent < performance.now() - before.ms; sent++) publishers[sent % 10].send(`bench/pub${sent % 10}`);
    await sleep(1);
  }
  await sleep(500);
  delays.sort((a, b) => a - b);
  const row = {
    acknowledged: delays.length,
    bytes: (writtenBy(broker.child) - before.bytes) / delays.length,
    syncs: ((await broker.syncs()) - before.syncs) / delays.length,
    p50: delays[Math.floor(delays.length * 0.5)],
    p99: delays[Math.floor(delays.length * 0.99)],
  };
  await stop(broker);
  return row;
}

/** Fills a store over MQTT, kills, starts again: how long until it is ready. */
async function recovery(retained, sessions, queued) {
  const store = STORES['holdfast, sync: commit'];
  const broker = await startHoldfast(store);
  for (let index = 0; index < sessions; index++)
    await subscriber(broker.port, `s${index}`, `q/${index}`, false);
  for (const [count, topicOf, retain] of [
    [queued, (n) => `q/${n % sessions}`, false],
    [retained, (n) => `plant/line/device${n}/value`, true],
  ]) {
    let acknowledged = 0;
    let sent = 0;
    const { socket, send } = await publisher(
      broker.port,
      `filler${String(retain)}`,
      () => {
        acknowledged++;
        if (sent < count) send(topicOf(sent++));
      },
      retain,
    );
    while (sent < Math.min(count, 1000)) send(topicOf(sent++));
    await until(() => acknowledged >= count, 120_000);
    socket.destroy();
  }
  await stop(broker);
  const again = await startHoldfast(store, broker.path);
  const { readyMs } = again;
  await stop(again);
  const empty = await startHoldfast(store);
  await stop(empty);
  return { readyMs, emptyMs: empty.readyMs };
}

// ---------------------------------------------------------------- small helpers and the report

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition, deadlineMs = 20_000) {
  for (const endMs = performance.now() + deadlineMs; !(await condition()); await sleep(5)) {
    if (performance.now() > endMs) fail('waited too long');
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true) || socket.destroy());
    socket.on('error', () => resolve(false));
  });
}

async function syncMs() {
  const { open } = await import('node:fs/promises');
  const file = await open(join(folder, 'probe'), 'w');
  const startedMs = performance.now();
  for (let n = 0; n < 50; n++) {
    await file.write(Buffer.alloc(4096), 0, 4096, n * 4096);
    await file.datasync();
  }
  await file.close();
  return ((performance.now() - startedMs) / 50).toFixed(2);
}

const digits = (value, count = 0) =>
  Number.isNaN(value) ? '-' : value.toLocaleString('en', { maximumFractionDigits: count });

const starts = Object.entries(STORES).map(([name, store]) => [name, () => startHoldfast(store)]);
if (spawnSync('mosquitto', ['-h']).error)
  console.log('mosquitto is not installed; holdfast alone is measured\n');
else
  for (const [name, persistence] of Object.entries(PERSISTENCE))
    starts.push([name, () => startMosquitto(persistence)]);

console.log(
  `acknowledged QoS 1 messages of ${PAYLOAD} B for one offline session, window ${WINDOW} a publisher\n`,
);
console.log('| broker | publishers | msg/s | bytes written a message | syncs a message | CPU us a message |');
console.log('|---|---:|---:|---:|---:|---:|');
for (const count of PUBLISHERS) {
  for (const [name, start] of starts) {
    if (!new RegExp(options.only).test(name)) continue;
    const { perSecond, bytes, syncs, cpuUs } = await throughput(start, count);
    console.log(
      `| ${name} | ${count} | ${digits(perSecond)} | ${digits(bytes)} | ${digits(syncs, 4)} | ${digits(cpuUs, 1)} |`,
    );
  }
}
const flash = await budget();
console.log(
  `\n1,000 messages/s to four persistent sessions: ${digits(flash.bytes)} bytes written and ${digits(flash.syncs, 3)} syncs a message (at most 1,024 and 0.1); PUBACK after ${digits(flash.p50, 1)} ms (p50), ${digits(flash.p99, 1)} ms (p99), ${flash.acknowledged} messages`,
);
for (const [retained, sessions, queued] of [
  [0, 1, 50_000],
  [100_000, 1_000, 100_000],
]) {
  const { readyMs, emptyMs } = await recovery(retained, sessions, queued);
  console.log(
    `ready ${digits(readyMs)} ms after a kill with ${digits(retained)} retained messages and ${digits(queued)} queued in ${digits(sessions)} sessions (an empty store: ${digits(emptyMs)} ms)`,
  );
}
process.exit(0);
