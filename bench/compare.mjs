/**
 * Runs brokers side by side: interleaved rounds (A B C, B C A, ...), a fresh broker for every run, broker and load
 * pinned to different cores. Answers with all runs; report.mjs makes tables of them.
 */
import { spawn, execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pick, short } from './report.mjs';
import { brokersOf, scenarios } from './scenarios.mjs';

const SETTLED_MS = 20_000;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function accepts(port) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

/** `brokers`: name -> { port, argv }. `options`: rounds, duration, warmup, nice, mqload, chosen, isQuick, told. */
export async function compare(brokers, options) {
  const runs = [];
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!options.chosen(name)) continue;
    const wanted = brokersOf(scenario).filter((broker) => options.only?.includes(broker) ?? true);
    const rounds = name === 'gc' ? 1 : options.rounds;
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < wanted.length; i++) {
        const broker = wanted[(i + round) % wanted.length];
        const run = { broker, name, round, ...(await runOnce(brokers[broker], scenario, options)) };
        runs.push(run);
        options.told(run);
      }
    }
  }
  return runs;
}

async function runOnce(broker, scenario, options) {
  try {
    return await withBroker(broker, options, async (pid, output) => {
      if (scenario.args === null) return { idle: await idleMemory(pid) };
      const result = load(broker, pid, (options.isQuick && scenario.quickArgs) || scenario.args, options);
      return broker.isTraced ? { ...result, gc: collectionsOf(output()) } : result;
    });
  } catch (error) {
    return { failed: error.message };
  }
}

/** Runs `use(pid)` against a freshly started broker in an empty working directory. */
async function withBroker(broker, { nice }, use) {
  if (await accepts(broker.port)) throw new Error(`port ${broker.port} is already in use`);
  const cwd = mkdtempSync(join(tmpdir(), 'holdfast-compare-'));
  // A file, because a pipe that nobody reads while the load runs would stop the broker.
  const path = join(cwd, 'output');
  const output = openSync(path, 'w');
  const child = spawn('nice', ['-n', nice, 'taskset', '-c', '0', ...broker.argv], {
    cwd,
    stdio: ['ignore', output, 'ignore'],
  });
  closeSync(output);
  const gone = new Promise((done) => child.once('exit', done));
  try {
    for (let tries = 0; !(await accepts(broker.port)); tries++) {
      if (tries > 200 || child.exitCode !== null) throw new Error(`nothing listens on ${broker.port}`);
      await sleep(50);
    }
    await sleep(300);
    return await use(child.pid, () => readFileSync(path, 'utf8'));
  } finally {
    child.kill('SIGTERM');
    await Promise.race([gone, sleep(3000)]);
    child.kill('SIGKILL');
    await gone;
    for (const folder of [cwd, broker.kept ?? cwd]) rmSync(folder, { recursive: true, force: true });
  }
}

function load(broker, pid, args, { mqload, nice, duration, warmup }) {
  // What a scenario says comes last, and the last word counts.
  const [name, ...rest] = args.split(' ');
  const fixed = ['--port', broker.port, '--pid', pid, '--warmup', warmup, '--duration', duration];
  const argv = ['-n', nice, 'taskset', '-c', '1', mqload, name, ...fixed, ...rest].map(String);
  try {
    const printed = execFileSync('nice', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return JSON.parse(printed);
  } catch (error) {
    return { failed: String(error.stderr || error.message).trim().slice(0, 200) }; // prettier-ignore
  }
}

async function idleMemory(pid) {
  await sleep(SETTLED_MS);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]) / 1024;
  return { rssMb: mb('VmRSS'), anonymousMb: mb('RssAnon') };
}

/** What --trace-gc printed once the start was over. */
function collectionsOf(output) {
  const gc = { minor: 0, major: 0, worstMs: 0, totalMs: 0 };
  for (const line of output.split('\n')) {
    const found = /(\d+) ms: (Scavenge|Mark-Compact).* MB, ([\d.]+) \/ /.exec(line);
    if (found === null || Number(found[1]) < 2000) continue;
    const ms = Number(found[3]);
    gc[found[2] === 'Scavenge' ? 'minor' : 'major']++;
    gc.worstMs = Math.max(gc.worstMs, ms);
    gc.totalMs += ms;
  }
  if (gc.minor === 0) throw new Error('no collection was traced');
  return gc;
}

/** One line for whoever waits. */
export function tell({ name, round, broker, ...run }) {
  const figures = ['msgs_per_s', 'drain.msgs_per_s', 'fill.msgs_per_s', 'connects_per_s', 'idle.rssMb'];
  const figure = figures.map((path) => pick(run, path)).find((value) => value !== undefined);
  process.stderr.write(`${name} round ${round + 1} ${broker}: ${run.failed ?? short(figure)}\n`);
}
