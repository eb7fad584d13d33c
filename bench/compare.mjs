#!/usr/bin/env node
// Compares MQTT brokers side by side with mqload: interleaved rounds (A B C, B C A, ...),
// a fresh broker for every run, broker and load pinned to different cores.
// Prints medians and ratios to the first broker as Markdown. See README.md.
import { spawn, execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values: opt } = parseArgs({
  options: {
    brokers: { type: 'string', default: join(here, 'brokers.json') },
    only: { type: 'string' }, // broker names, comma separated; the first is the reference
    scenarios: { type: 'string', default: '.' }, // regular expression on scenario names
    rounds: { type: 'string', default: '3' },
    duration: { type: 'string', default: '4' },
    warmup: { type: 'string', default: '2' },
    'broker-cpu': { type: 'string', default: '0' },
    'load-cpu': { type: 'string', default: '1' },
    nice: { type: 'string', default: '0' }, // negative (root): keeps a busy machine's other work away
    mqload: { type: 'string', default: join(here, 'mqload') },
    lock: { type: 'string' }, // file to hold with flock(1) while one scenario is measured
    out: { type: 'string' }, // JSON lines of all runs are appended here
    report: { type: 'string' }, // no runs: only print the table of this JSON lines file
  },
});

// name -> mqload arguments, and the figures that matter for it.
const flow = ['msgs_per_s', 'broker_cpu_us_per_msg'];
const delay = ['latency_us.p50', 'latency_us.p99', 'broker_cpu_us_per_msg'];
const scenarios = {
  'p2p-q0': ['p2p --pubs 10 --window 500', flow],
  'p2p-q1': ['p2p --pubs 10 --window 500 --qos 1', flow],
  'p2p-q2': ['p2p --pubs 10 --window 500 --qos 2', flow],
  'p2p-q0-1k': ['p2p --pubs 10 --window 500 --size 1024', flow],
  'p2p-q0-topics': ['p2p --pubs 10 --window 500 --topics 100', flow],
  'p2p-q0-single': ['p2p --pubs 100 --window 1', flow], // one message per read and write
  'p2p-q1-single': ['p2p --pubs 100 --window 1 --qos 1', flow],
  'fanin-q0': ['fanin --pubs 100 --window 50', flow],
  'fanin-q1': ['fanin --pubs 100 --window 50 --qos 1', flow],
  'fanout100-q0': ['fanout --subs 100 --window 100', flow],
  'fanout100-q1': ['fanout --subs 100 --window 100 --qos 1', flow],
  'fanout1000-q0': ['fanout --subs 1000 --window 50', flow],
  'devices-10k': ['fanin --pubs 1000 --rate 10000', delay], // 1000 devices, 10 messages/s each
  'latency-1k-q0': ['latency --rate 1000', delay],
  'latency-1k-q1': ['latency --rate 1000 --qos 1', delay],
  'latency-10k-q0': ['latency --rate 10000', delay],
  'latency-10k-q1': ['latency --rate 10000 --qos 1', delay],
  'conn-1k': [
    'conn --n 1000',
    ['connects_per_s', 'broker_cpu_us_per_connect', 'broker_rss_before_kb', 'broker_rss_bytes_per_conn'],
  ],
  'conn-10k': [
    'conn --n 10000 --hold 4',
    [
      'connects_per_s',
      'broker_cpu_us_per_connect',
      'broker_rss_held_kb',
      'broker_rss_bytes_per_conn',
      'broker_idle_cpu_share',
    ],
  ],
  'subs-100k': ['subs --n 100k --wide 10', ['subscribes_per_s', 'broker_rss_bytes_per_filter', ...flow]],
  'retained-100k': [
    'retained --n 100k --qos 1',
    [
      'fill.msgs_per_s',
      'fill.broker_cpu_us_per_msg',
      'fill.rss_bytes_per_msg',
      'drain.msgs_per_s',
      'drain.broker_cpu_us_per_msg',
    ],
  ],
  'durable-100k': [
    'durable --n 100k --qos 1',
    [
      'fill.msgs_per_s',
      'fill.broker_cpu_us_per_msg',
      'fill.rss_bytes_per_msg',
      'drain.msgs_per_s',
      'drain.broker_cpu_us_per_msg',
    ],
  ],
};

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const accepts = (port) =>
  new Promise((done) => {
    const s = connect(port, '127.0.0.1', () => (s.destroy(), done(true)));
    s.on('error', () => done(false));
  });

/** Waits for the lock file, if one was given; returns what releases it. */
async function takeLock() {
  if (!opt.lock) return () => {};
  const holder = spawn('flock', [opt.lock, 'sh', '-c', 'echo held; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await new Promise((done) => holder.stdout.once('data', done));
  return () => holder.stdin.end();
}

/** Runs `use(pid)` against a freshly started broker in an empty working directory. */
async function withBroker(broker, use) {
  if (await accepts(broker.port)) throw new Error(`port ${broker.port} is already in use`);
  const cwd = mkdtempSync(join(tmpdir(), 'mqcompare-'));
  const [cmd, ...args] = broker.argv.map((a) => a.replace('{here}', here));
  const cpu = broker.cpu ?? opt['broker-cpu'];
  const child = spawn('nice', ['-n', opt.nice, 'taskset', '-c', cpu, cmd, ...args], {
    cwd,
    stdio: 'ignore',
    env: { ...process.env, ...broker.env },
  });
  const gone = new Promise((done) => child.once('exit', done));
  try {
    for (let i = 0; !(await accepts(broker.port)); i++) {
      if (i > 100 || child.exitCode !== null)
        throw new Error(`${broker.name} does not listen on ${broker.port}`);
      await sleep(50);
    }
    await sleep(300);
    return await use(child.pid);
  } finally {
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(3000)]);
    child.kill('SIGKILL');
    await gone;
    rmSync(cwd, { recursive: true, force: true });
  }
}

function mqload(broker, pid, args) {
  const argv = [
    'nice',
    '-n',
    opt.nice,
    'taskset',
    '-c',
    opt['load-cpu'],
    opt.mqload,
    ...args.split(' '),
    '--port',
    broker.port,
    '--pid',
    pid,
    '--duration',
    opt.duration,
    '--warmup',
    opt.warmup,
  ].map(String);
  try {
    return JSON.parse(
      execFileSync(argv[0], argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
    );
  } catch (err) {
    return {
      failed: String(err.stderr || err.message)
        .trim()
        .slice(0, 200),
    };
  }
}

const pick = (obj, path) => path.split('.').reduce((o, key) => o?.[key], obj);
const median = (list) => {
  const s = list.filter((v) => typeof v === 'number').sort((a, b) => a - b);
  return s.length ? (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2 : undefined;
};
const short = (v) =>
  v === undefined
    ? '-'
    : v >= 1e5
      ? `${Math.round(v / 1e3)}k`
      : v >= 1e4
        ? `${(v / 1e3).toFixed(1)}k`
        : v >= 100
          ? v.toFixed(0)
          : String(+v.toPrecision(3));

function printTable(runs) {
  const names = [...new Set(runs.map((r) => r.broker))];
  console.log(`| scenario | figure | ${names.join(' | ')} |\n|---|---|${names.map(() => '---:').join('|')}|`);
  for (const [scenario, [, figures]] of Object.entries(scenarios)) {
    const mine = runs.filter((r) => r.name === scenario);
    if (!mine.length) continue;
    for (const figure of figures) {
      const cells = names.map((n) => median(mine.filter((r) => r.broker === n).map((r) => pick(r, figure))));
      const text = cells.map((v, i) =>
        i && v !== undefined && cells[0] ? `${short(v)} (${(v / cells[0]).toFixed(2)}x)` : short(v),
      );
      console.log(`| ${scenario} | ${figure} | ${text.join(' | ')} |`);
    }
    const faults = names.map((n) => {
      const set = mine.filter((r) => r.broker === n);
      const sum = (k) => set.reduce((t, r) => t + (pick(r, k) ?? pick(r, `drain.${k}`) ?? 0), 0);
      const list = ['lost', 'duplicates', 'out_of_order', 'corrupt', 'disconnects', 'refused', 'stalls']
        .filter(sum)
        .map((k) => `${k} ${sum(k)}`);
      const failed = set.find((r) => r.failed);
      if (failed) list.push(`FAILED: ${failed.failed}`);
      return list.join(', ');
    });
    if (faults.some(Boolean)) console.log(`| ${scenario} | faults | ${faults.join(' | ')} |`);
  }
}

if (opt.report) {
  printTable(
    readFileSync(opt.report, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
} else {
  const all = JSON.parse(readFileSync(opt.brokers, 'utf8'));
  const wanted = opt.only ? opt.only.split(',') : Object.keys(all);
  const brokers = wanted.map((name) => ({ name, ...all[name] }));
  const chosen = Object.entries(scenarios).filter(([name]) => new RegExp(opt.scenarios).test(name));
  const runs = [];
  for (const [name, [args]] of chosen) {
    const release = await takeLock();
    for (let round = 0; round < Number(opt.rounds); round++)
      for (let i = 0; i < brokers.length; i++) {
        const broker = brokers[(i + round) % brokers.length];
        let result;
        try {
          result = await withBroker(broker, async (pid) => mqload(broker, pid, args));
        } catch (err) {
          result = { failed: err.message };
        }
        const run = { broker: broker.name, name, round, ...result };
        runs.push(run);
        if (opt.out) appendFileSync(opt.out, JSON.stringify(run) + '\n');
        const figure =
          pick(run, 'msgs_per_s') ?? pick(run, 'drain.msgs_per_s') ?? pick(run, 'connects_per_s');
        console.error(`${name} round ${round + 1} ${broker.name}: ${run.failed ?? short(figure)}`);
      }
    release();
  }
  runs.sort((a, b) => wanted.indexOf(a.broker) - wanted.indexOf(b.broker));
  printTable(runs);
}
