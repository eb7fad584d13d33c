/**
 * `npm run bench [-- --quick] [-- --scenarios REGEXP] [-- --rounds N] [-- --write]`: builds the load generator, runs
 * holdfast beside Debian's mosquitto and aedes, interleaved, and prints every target with its ratio. `--write` puts the
 * tables into docs/performance.md; `--out FILE` keeps all runs, `--report FILE` prints the tables of such a file.
 * Unless scenarios or brokers were chosen, durable.mjs follows, for which TMPDIR must be on a disk.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { asked } from '../scripts/options.mjs';
import { buildIfStale, fail, install, launcher, root, run } from '../scripts/prepare.mjs';
import { compare, tell } from './compare.mjs';
import { detailTable, targetTable } from './report.mjs';
import { QUICK } from './scenarios.mjs';

const USAGE = `npm run bench -- [--quick] [--scenarios REGEXP] [--only BROKER,...] [--rounds N] [--duration S] [--warmup S]
                        [--nice N] [--write] [--out FILE] [--report FILE]

  --quick   the main scenarios once          --write   the tables go into docs/performance.md
  --only    these brokers                    --out     keep all runs in a file
  --nice    of the brokers                   --report  print the tables of such a file`;
const { options } = asked(USAGE, {
  quick: { type: 'boolean', default: false },
  scenarios: { type: 'string' },
  only: { type: 'string' },
  rounds: { type: 'string' },
  duration: { type: 'string' },
  warmup: { type: 'string' },
  nice: { type: 'string', default: '0' },
  write: { type: 'boolean', default: false },
  out: { type: 'string' },
  report: { type: 'string' },
});
/** A bus with a worker and a device on it, so that everything that a gateway needs is loaded. */
const GATEWAY = `buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: 9 }
devices:
  meter:
    bus: plc
    unit_id: 1
    tags: { power: { holding: 0, type: uint16, rate: 1s } }
`;
/** The launcher hands no flags to Node. */
const TRACED = ['node', '--trace-gc', join(root, 'dist/main.js')];
const here = dirname(fileURLToPath(import.meta.url));
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
const duration = options.duration ?? (options.quick ? '1' : '3');
const runs = options.report === undefined ? await measure() : readRuns(options.report);
if (options.out !== undefined)
  writeFileSync(options.out, runs.map((one) => `${JSON.stringify(one)}\n`).join(''));
const text = `${targetTable(runs)}\n\n${detailTable(runs)}\n`;
process.stdout.write(text);
if (options.write) writePage();
// What keeping a promise costs belongs to the whole picture, not to a choice from it.
if ([options.report, options.scenarios, options.only].every((choice) => choice === undefined)) {
  const quick = options.quick ? ['--quick'] : [];
  process.exitCode = spawnSync(process.execPath, [join(here, 'durable.mjs'), ...quick], { stdio: 'inherit' }).status ?? 1; // prettier-ignore
}

function readRuns(path) {
  return readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line)); // prettier-ignore
}

async function measure() {
  install();
  await buildIfStale();
  if (spawnSync('mosquitto', ['-h']).error) fail('mosquitto is not installed: apt-get install -y mosquitto');
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const mqload = join(folder, 'mqload');
  run('cc', ['-O2', '-Wall', '-o', mqload, join(here, 'mqload.c')]);
  const chosen = options.scenarios === undefined ? undefined : new RegExp(options.scenarios);
  return compare(await brokersIn(folder), {
    rounds,
    duration,
    warmup: options.warmup ?? (options.quick ? '0.5' : '1'),
    nice: options.nice,
    mqload,
    isQuick: options.quick,
    only: options.only?.split(','),
    chosen: (name) => chosen?.test(name) ?? (!options.quick || QUICK.test(name)),
    told: tell,
  });
}

async function brokersIn(folder) {
  const file = (name, lines) => {
    const path = join(folder, name);
    writeFileSync(path, lines);
    return path;
  };
  const mosquitto = async (name, extra = '') => {
    const port = await freePort();
    const lines = `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 100\nlog_type error\n${extra}`;
    return { port, argv: ['mosquitto', '-c', file(`${name}.conf`, lines)] };
  };
  const holdfast = async (name, store, more = '', program = [launcher]) => {
    const port = await freePort();
    const config = file(`${name}.yaml`, configOf(port, store, more));
    return { port, argv: [...program, 'run', '--config', config] };
  };
  /** What it keeps is removed after each run, or the next would begin with it. */
  const keeping = async (name, more) => {
    const kept = join(folder, `${name}-data`);
    return { ...(await holdfast(name, `{ path: ${JSON.stringify(kept)}, sync: commit }`, more)), kept };
  };
  const aedes = await freePort();
  return {
    mosquitto: await mosquitto('mosquitto'),
    'mosquitto-nodelay': await mosquitto('nodelay', 'set_tcp_nodelay true\n'),
    holdfast: await holdfast('memory', 'memory'),
    'holdfast-commit': await keeping('commit'),
    'holdfast-gc': { ...(await holdfast('gc', 'memory', '', TRACED)), isTraced: true },
    'holdfast-gateway': await keeping('gateway', GATEWAY),
    aedes: { port: aedes, argv: ['node', join(here, 'aedes.mjs'), String(aedes)] },
  };
}

function configOf(port, store, more) {
  return `version: 1
gateway: { id: bench }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: ${port} }]
  anonymous: true
  access: [{ allow: [read, write], topic: "#" }]
  store: ${store}
  limits: { max_connections: 20000, max_connections_per_address: 20000, max_queued_bytes: 1GiB }
${more}`;
}

/** The page between its marks is what was measured; the rest of it is written by hand. */
function writePage() {
  const path = join(root, 'docs/performance.md');
  const page = readFileSync(path, 'utf8');
  const [begin, end] = ['<!-- measured -->', '<!-- end -->'];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) fail(`${path} has no place for figures: ${begin} ... ${end}`);
  const version = spawnSync('mosquitto', ['-h'], { encoding: 'utf8' }).stdout.match(/version (\S+)/)?.[1];
  const machine = `${new Date().toISOString().slice(0, 10)}, ${rounds} rounds of ${duration} s, ${cpus().length} x ${cpus()[0]?.model.trim()}, Linux ${release()}, Node ${process.versions.node}, mosquitto ${version}.`;
  writeFileSync(path, `${page.slice(0, from + begin.length)}\n\n${machine}\n\n${targetTable(runs)}\n\n### All figures\n\n${detailTable(runs)}\n\n${page.slice(to)}`); // prettier-ignore
}

/** A port that was free a moment ago; compare() refuses one that is in use. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
