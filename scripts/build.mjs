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
export const ENTRIES = ['main.ts', 'poller/worker.ts', 'config/worker.ts', 'simulator/process.ts'];

/** For packages that still ask for modules by require(). */
export const BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** modbus-serial asks for serialport, which must not be loaded in a worker; ports are ours, so it gets nothing. */
export const withoutSerialport = {
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
export const withNodesStreams = {
  name: 'bl-with-nodes-streams',
  setup({ onResolve }) {
    onResolve({ filter: /^readable-stream$/ }, ({ importer }) =>
      /node_modules.bl./.test(importer) ? { path: 'node:stream', external: true } : undefined,
    );
  },
};

export async function buildDist() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: ENTRIES.map((entry) => `src/${entry}`).filter((entry) => existsSync(join(root, entry))),
    outbase: 'src',
    outdir: 'dist',
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    chunkNames: 'chunk-[hash]',
    external: ['serialport', '@lydell/node-pty', 'nats'],
    plugins: [withoutSerialport, withNodesStreams],
    banner: { js: BANNER },
    logLevel: 'warning',
  });
  await buildPage(root);
  const main = join(root, 'dist/main.js');
  if (existsSync(main)) chmodSync(main, 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  asked('npm run build');
  await buildDist();
}
