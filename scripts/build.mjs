/**
 * Builds dist/: one bundled ES module tree, entry files at the paths that src/entry.ts names. Bundling takes start
 * time and about 10 MB of memory off. Types are checked by `npm run check` and `npm test`, not here.
 */
import { build } from 'esbuild';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPage } from './build-page.mjs';
import { asked } from './options.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Threads and processes of their own need files of their own. */
const ENTRIES = ['main.ts', 'poller/worker.ts', 'config/worker.ts', 'simulator/process.ts'];

/** For packages that still ask for modules by require(). */
const BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** modbus-serial asks for serialport, which must not be loaded in a worker; ports are ours, so it gets nothing. */
const withoutSerialport = {
  name: 'modbus-serial-without-serialport',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^serialport$/ }, ({ importer }) =>
      importer.includes('modbus-serial') ? { path: 'serialport', namespace: 'nothing' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({
      contents: 'module.exports = {};',
      loader: 'js',
    }));
  },
};

/** bl, which mqtt-packet reads with, brings Node's streams along a second time: 118 KB of source in every gateway. */
const withNodesStreams = {
  name: 'bl-with-nodes-streams',
  setup({ onResolve }) {
    onResolve({ filter: /^readable-stream$/ }, ({ importer }) =>
      /node_modules.bl./.test(importer) ? { path: 'node:stream', external: true } : undefined,
    );
  },
};

export async function buildDist() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await buildProgram('dist', { external: ['serialport', '@lydell/node-pty', 'nats'] });
  await buildPage(root);
  const main = join(root, 'dist/main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
}

/** The program in a folder: what is seldom needed is a file of its own, which costs nothing until it is loaded. */
export async function buildProgram(outdir, { external, plugins = [], banner = '', legalComments = 'none' }) {
  await build({
    absWorkingDir: root,
    entryPoints: ENTRIES.map((entry) => `src/${entry}`),
    outbase: 'src',
    outdir,
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments,
    chunkNames: 'chunk-[hash]',
    external,
    plugins: [withoutSerialport, withNodesStreams, ...plugins],
    banner: { js: `${BANNER} ${banner}` },
    logLevel: 'warning',
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  asked('npm run build');
  await buildDist();
}
