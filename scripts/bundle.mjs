/**
 * `npm run bundle`: build/bundle/holdfast/, a folder that runs with `node holdfast.js` and nothing else: the whole program
 * in one file, and beside it what cannot be in it (the serial port's prebuilt binaries, the web page, the device maps).
 */
import { build } from 'esbuild';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPage } from './build-page.mjs';
import { BANNER, ENTRIES, withNodesStreams, withoutSerialport } from './build.mjs';
import { asked } from './options.mjs';
import { install, requireNode, root } from './prepare.mjs';

export const bundleFolder = join(root, 'build/bundle/holdfast');
const BINDINGS = 'node_modules/@serialport/bindings-cpp';

/** Which entry this thread or process is; none: the command line. */
const WHICH = `
const entries = {${ENTRIES.map((entry) => `'${entry.replace('.ts', '.js')}': () => import('./src/${entry}'),`).join(' ')}};
await entries[process.env.HOLDFAST_ENTRY ?? 'main.js']();
`;

/** serialport looks for its binary from the folder of its package; here that is the bundle's. */
const binariesBeside = {
  name: 'serialport-binaries-beside-the-bundle',
  setup({ onLoad }) {
    onLoad({ filter: /bindings-cpp\/dist\/serialport-bindings\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        /\(0, path_1\.join\)\(__dirname, '\.\.\/'\)/,
        '__bundleFolder',
      ),
      loader: 'js',
    }));
  },
};

export async function bundle() {
  rmSync(bundleFolder, { recursive: true, force: true });
  mkdirSync(bundleFolder, { recursive: true });
  await build({
    absWorkingDir: root,
    stdin: { contents: WHICH, resolveDir: root, sourcefile: 'which.js' },
    outfile: join(bundleFolder, 'holdfast.js'),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'eof',
    define: { IS_ONE_FILE: 'true' },
    external: ['@lydell/node-pty'],
    plugins: [withoutSerialport, withNodesStreams, binariesBeside],
    banner: { js: `${BANNER} const __bundleFolder = import.meta.dirname;` },
    logLevel: 'warning',
  });
  await buildPage(root, join(bundleFolder, 'dist/page'));
  for (const platform of readdirSync(join(root, BINDINGS, 'prebuilds')).filter((name) =>
    name.startsWith('linux-'),
  ))
    cpSync(join(root, BINDINGS, 'prebuilds', platform), join(bundleFolder, 'prebuilds', platform), {
      recursive: true,
    });
  for (const name of ['devices', 'config', 'LICENSE', 'README.md', 'CHANGELOG.md'])
    cpSync(join(root, name), join(bundleFolder, name), { recursive: true });
  const { name, version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(
    join(bundleFolder, 'package.json'),
    `${JSON.stringify({ name, version, license, type: 'module' })}\n`,
  );
}

if (process.argv[1] === import.meta.filename) {
  asked('npm run bundle');
  requireNode();
  install();
  await bundle();
  process.stdout.write(`${bundleFolder}\n`);
}
