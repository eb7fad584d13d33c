/**
 * `npm test [ROOM ...]`: installs, builds, and runs the tests of the rooms named (all when none is), peers included.
 * `--watch` runs them again when a file changes; `--long` runs the long form of those that have one (npm run accept:NAME).
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildIfStale, fail, install, requireNode, root, run } from './prepare.mjs';
import { asked } from './options.mjs';
import { installPeers } from './peers.mjs';

const USAGE = `npm test -- [--watch] [--long] [ROOM ...]

  ROOM     a folder or file of test/, such as broker or poller/poller; all of them when none is named
  --watch  run them again when a file changes
  --long   run the long form of those that have one`;
const { options, names: rooms } = asked(
  USAGE,
  { watch: { type: 'boolean', default: false }, long: { type: 'boolean', default: false } },
  { takesNames: true },
);
const isLong = options.long;
requireNode();
for (const room of rooms) if (!isThere(room)) fail(`no test at test/${room}`);
install();
installPeers(isLong);
await buildIfStale();

if (isLong) process.env.HOLDFAST_LONG = '1';
process.stderr.write('compiling ...\n');
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);

const built = join(root, 'build/test');
const files = rooms.length === 0 ? testsIn(built) : rooms.flatMap(testsOf);
if (files.length === 0) fail(`no test in ${rooms.join(', ')}`);

function isThere(room) {
  const path = join(root, 'test', room);
  return existsSync(path) || existsSync(`${path}.test.ts`);
}

function testsOf(room) {
  const path = join(built, room);
  return existsSync(path) ? testsIn(path) : [`${path}.test.js`];
}

/** Compiled tests whose source is still there. */
function testsIn(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((file) => file.endsWith('.test.js'))
    .map((file) => join(folder, file))
    .filter((file) => existsSync(file.replace(`${built}/`, `${root}/test/`).replace(/\.js$/, '.ts')))
    .sort();
}

/** Tests that measure a line's physics want the processor for themselves, so they come last and one at a time. */
const MEASURING = ['modbus/field', 'simulator/physics'];
/** Tests that mostly wait, for deadlines of seconds or for memory to settle, run beside the others. */
const WAITING = [
  'broker/defence',
  'e2e/devices',
  'e2e/lease',
  'e2e/memory',
  'modbus/client',
  'uplink/engines',
  'uplink/hostile',
];
const isAmong = (names) => (file) => names.some((name) => file === join(built, `${name}.test.js`));
const isMeasuring = isAmong(MEASURING);
const isWaiting = isAmong(WAITING);

/** Runs some files, that many at a time; false when one failed. */
async function passes(chosen, concurrency) {
  if (chosen.length === 0) return true;
  const child = spawn(
    process.execPath,
    [
      '--enable-source-maps',
      '--import',
      pathToFileURL(join(built, 'support/seed.js')).href,
      '--test',
      `--test-timeout=${isLong ? 7_200_000 : 300_000}`,
      `--test-concurrency=${concurrency}`,
      ...(options.watch ? ['--watch'] : []),
      '--test-reporter=spec',
      ...chosen,
    ],
    { cwd: root, stdio: 'inherit' },
  );
  const [code] = await once(child, 'exit');
  return code === 0;
}

const measuring = files.filter(isMeasuring);
const waiting = files.filter(isWaiting);
const others = files.filter((file) => !isMeasuring(file) && !isWaiting(file));
const verdicts = await Promise.all([passes(others, 2), passes(waiting, 1)]);
verdicts.push(await passes(measuring, 1));
process.exit(verdicts.includes(false) ? 1 : 0);
