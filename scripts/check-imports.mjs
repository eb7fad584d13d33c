/**
 * The import graph: imports point down, type imports too; no cycle between files; every outside package has the one
 * importer that this table names; no file that only re-exports. This table is the law, docs/architecture.md its picture.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { builtinModules } from 'node:module';
import ts from 'typescript';
import { root } from './prepare.mjs';

const GROUND = [
  'errors.ts',
  'log.ts',
  'clock.ts',
  'metrics.ts',
  'slab.ts',
  'entry.ts',
  'replacefile.ts',
  'unrest.ts',
];

/** Room -> what it may import beside itself and the ground floor: rooms, or single files. */
const ROOMS = {
  'main.ts': ['cli'],
  cli: ['gateway', 'uplink', 'web', 'poller', 'broker', 'store', 'config', 'modbus', 'simulator'],
  gateway: ['uplink', 'web', 'poller', 'broker', 'store', 'config', 'modbus/frames.ts'],
  uplink: [
    'broker/message.ts',
    'broker/codec.ts',
    'broker/topic.ts',
    'broker/properties.ts',
    'store/journal.ts',
    'store/files.ts',
    'store/unread.ts',
    'config/plant.ts',
    'config/template.ts',
    'config/filter.ts',
  ],
  web: ['broker/door.ts', 'broker/greetings.ts'],
  'web/page': [
    'broker/framer.ts',
    'broker/codec.ts',
    'broker/properties.ts',
    'broker/topic.ts',
    'modbus/frames.ts',
    'modbus/framing.ts',
    'modbus/pcap.ts',
  ],
  simulator: ['modbus', 'config'],
  poller: ['modbus', 'config/plant.ts', 'config/leantag.ts', 'config/signature.ts'],
  broker: ['store/store.ts'],
  store: [],
  config: ['modbus/values.ts', 'modbus/conversion.ts', 'modbus/protocol.ts', 'broker/usersfile.ts'],
  modbus: [],
};

/** Outside package -> its importers: files, or folders. */
const PACKAGES = {
  'modbus-serial': ['modbus/codec.ts'],
  serialport: ['modbus/serial.ts'],
  'mqtt-packet': ['broker/packets.ts'],
  ws: ['broker/websocket.ts'],
  jsep: ['config/formula.ts'],
  yaml: ['config/load.ts'],
  zod: ['config/schema'],
  pino: ['log.ts'],
  mqtt: ['uplink/client.ts'],
  nats: ['uplink/lease.ts'],
  'prom-client': ['web/prometheus.ts'],
  commander: ['main.ts'],
  'csv-parse': ['cli/registerlist.ts'],
  '@peculiar/x509': ['cli/authority.ts'],
  'reflect-metadata': ['cli/authority.ts'],
  '@lydell/node-pty': ['simulator/pty.ts'],
  preact: ['web/page'],
  '@preact/signals': ['web/page'],
  uplot: ['web/page'],
};

const src = join(root, 'src');
const files = readdirSync(src, { recursive: true })
  .filter((file) => /\.tsx?$/.test(file))
  .sort();
const problems = [];
const edges = new Map();

for (const file of files) {
  const text = readFileSync(join(src, file), 'utf8');
  const imports = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  edges.set(file, []);
  for (const name of imports) name.startsWith('.') ? checkFile(file, name) : checkPackage(file, name);
  if (
    imports.length > 0 &&
    !/^\s*(import|const|let|class|function|async|interface|type|export (?!\*|\{))/m.test(text)
  ) {
    problems.push(`${file}: only re-exports; import from where things are`);
  }
}
findCycles();

function roomOf(file) {
  if (file.startsWith('web/page/')) return 'web/page';
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : file;
}

function checkFile(from, name) {
  const written = relative(src, resolve(dirname(join(src, from)), name));
  const target =
    ['.ts', '.tsx'].map((end) => written.replace(/\.js$/, end)).find((path) => existsSync(join(src, path))) ??
    written;
  if (!existsSync(join(src, target))) {
    if (/\.(css|json)$/.test(target)) return;
    problems.push(`${from}: imports ${name}, which is not there`);
    return;
  }
  edges.get(from).push(target);
  const [a, b] = [roomOf(from), roomOf(target)];
  if (a === b || GROUND.includes(target)) return;
  if (GROUND.includes(from)) {
    problems.push(`${from}: the ground floor imports nothing above it, not ${target}`);
    return;
  }
  const allowed = ROOMS[a] ?? [];
  if (!allowed.includes(b) && !allowed.includes(target))
    problems.push(`${from}: ${a} may not import ${target}`);
}

function checkPackage(from, name) {
  const base = name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0];
  if (name.startsWith('node:') || builtinModules.includes(base)) {
    if (roomOf(from) === 'web/page') problems.push(`${from}: the page cannot import ${name}`);
    return;
  }
  const importers = PACKAGES[base];
  if (importers === undefined)
    problems.push(`${from}: package ${base} has no place in scripts/check-imports.mjs`);
  else if (!importers.some((importer) => from === importer || from.startsWith(`${importer}/`)))
    problems.push(`${from}: package ${base} is imported by ${importers.join(', ')} only`);
}

/** Depth-first; each cycle is told once, as the path around it. */
function findCycles() {
  const state = new Map();
  const path = [];
  const visit = (file) => {
    if (state.get(file) === 'done') return;
    if (state.get(file) === 'open') {
      problems.push(`cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      return;
    }
    state.set(file, 'open');
    path.push(file);
    for (const next of edges.get(file) ?? []) visit(next);
    path.pop();
    state.set(file, 'done');
  };
  for (const file of files) visit(file);
}

if (problems.length > 0) {
  process.stderr.write(`${problems.join('\n')}\n`);
  process.exit(1);
}
