/**
 * `npm run bench [-- --quick] [-- --scenarios REGEXP] [-- --rounds N]`: builds the load generator, runs holdfast
 * beside Debian's mosquitto and aedes, interleaved, and prints the table with ratios to mosquitto.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildIfStale, fail, install, root, run } from '../scripts/prepare.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const QUICK = [
  '--rounds',
  '3',
  '--duration',
  '1',
  '--warmup',
  '0.5',
  '--scenarios',
  '^(p2p-q[012]|p2p-q0-single|fanin-q0|fanout100-q0)$',
];

install();
await buildIfStale();
if (spawnSync('mosquitto', ['-h']).error) fail('mosquitto is not installed: apt-get install -y mosquitto');

const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
const mqload = join(folder, 'mqload');
run('cc', ['-O2', '-Wall', '-o', mqload, join(here, 'mqload.c')]);

const file = (name, text) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const MOSQUITTO =
  'allow_anonymous true\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 100\nlog_type error\n';
const [reference, nodelay, ours, aedes] = [
  await freePort(),
  await freePort(),
  await freePort(),
  await freePort(),
];
const brokers = {
  mosquitto: {
    port: reference,
    argv: ['mosquitto', '-c', file('mosquitto.conf', `listener ${reference} 127.0.0.1\n${MOSQUITTO}`)],
  },
  'mosquitto-nodelay': {
    port: nodelay,
    argv: [
      'mosquitto',
      '-c',
      file('nodelay.conf', `listener ${nodelay} 127.0.0.1\nset_tcp_nodelay true\n${MOSQUITTO}`),
    ],
  },
  holdfast: {
    port: ours,
    argv: [
      'node',
      '--max-semi-space-size=1',
      join(root, 'dist/main.js'),
      'run',
      '--config',
      file('holdfast.yaml', holdfast(ours)),
    ],
  },
  aedes: { port: aedes, argv: ['node', join(here, 'aedes.mjs'), String(aedes)] },
};

const args = process.argv.slice(2);
const wanted = args.includes('--quick') ? [...QUICK, ...args.filter((arg) => arg !== '--quick')] : args;
const only = wanted.includes('--only') ? [] : ['--only', 'mosquitto,holdfast,aedes'];
const { status } = spawnSync(
  process.execPath,
  [
    join(here, 'compare.mjs'),
    '--brokers',
    file('brokers.json', JSON.stringify(brokers)),
    '--mqload',
    mqload,
    ...only,
    ...wanted,
  ],
  { stdio: 'inherit' },
);
rmSync(folder, { recursive: true });
process.exit(status ?? 1);

function holdfast(port) {
  return `version: 1
gateway: { id: bench }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: ${port} }]
  anonymous: true
  access: [{ allow: [read, write], topic: "#" }]
  store: memory
  limits: { max_connections: 20000, max_connections_per_address: 20000, max_queued_bytes: 1GiB }
`;
}

/** A port that was free a moment ago; compare.mjs refuses one that is in use. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
