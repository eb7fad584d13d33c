/** What demo, test and run share: install what is missing, build what is stale, in as little time as can be. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Starts the built program as users do, with what only the environment of a process can set. */
export const launcher = join(root, 'packaging/holdfast.sh');

/** Runs a command with our terminal; ends this process with its exit code when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) fail(`${command} could not be started: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

export function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}

export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(
      `holdfast needs Node.js 20.19 or later, and this is ${process.versions.node}; see the README for how to install it`,
    );
  }
}

/** npm ci when node_modules is missing or was made from another lock file. */
export function install() {
  const stamp = join(root, 'node_modules/.made-from');
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  process.stderr.write('installing packages ...\n');
  run(
    process.platform === 'win32' ? 'npm.cmd' : 'npm',
    ['ci', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      stdio: ['ignore', process.stderr.fd, process.stderr.fd],
    },
  );
  writeFileSync(stamp, wanted);
}

/** Bundles dist/ when a source file is newer than it. */
export async function buildIfStale() {
  const main = join(root, 'dist/main.js');
  const newest = Math.max(
    ...['src', 'scripts', 'package-lock.json'].map((path) => newestIn(join(root, path))),
  );
  if (existsSync(main) && statSync(main).mtimeMs >= newest) return;
  process.stderr.write('building ...\n');
  const { buildDist } = await import('./build.mjs');
  await buildDist();
}

function newestIn(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newestIn(join(path, name))));
}
