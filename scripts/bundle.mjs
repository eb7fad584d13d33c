/**
 * `npm run bundle`: build/bundle/holdfast/, a folder that runs with `bin/holdfast` (or `node holdfast.js`) and Node.js and
 * nothing else: the program, and beside it the serial port's prebuilt binaries, the web page and the device maps.
 */
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { buildPage } from './build-page.mjs';
import { buildProgram } from './build.mjs';
import { asked } from './options.mjs';
import { install, launcher, requireNode, root } from './prepare.mjs';

export const bundleFolder = join(root, 'build/bundle/holdfast');
const program = join(bundleFolder, 'dist');
const require = createRequire(import.meta.url);
const BINDINGS = 'node_modules/@serialport/bindings-cpp';

/** serialport looks for its binary from the folder of its package; here that is the program's. */
const binariesBeside = {
  name: 'serialport-binaries-beside-the-program',
  setup({ onLoad }) {
    onLoad({ filter: /bindings-cpp\/dist\/serialport-bindings\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(
        /\(0, path_1\.join\)\(__dirname, '\.\.\/'\)/,
        '__binariesFolder',
      ),
      loader: 'js',
    }));
  },
};

/** A CommonJS package that is loaded when it is needed has no names but `default` when it becomes a file of its own. */
const withNamesOfCommonJs = {
  name: 'names-of-commonjs',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(serialport|nats)$/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path, namespace: 'names' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'names' }, ({ path }) => ({
      contents: `import * as whole from '${path}'; export const { ${Object.keys(require(path)).join(', ')} } = whole;`,
      resolveDir: root,
    }));
  },
};

export async function bundle() {
  rmSync(bundleFolder, { recursive: true, force: true });
  mkdirSync(bundleFolder, { recursive: true });
  await buildProgram(program, {
    external: ['@lydell/node-pty'],
    plugins: [withNamesOfCommonJs, binariesBeside],
    banner: 'const __binariesFolder = import.meta.dirname;',
    legalComments: 'external',
  });
  writeFileSync(join(bundleFolder, 'holdfast.js'), "import './dist/main.js';\n");
  cpSync(launcher, join(bundleFolder, 'bin/holdfast'));
  await buildPage(root, join(program, 'page'));
  for (const platform of readdirSync(join(root, BINDINGS, 'prebuilds')).filter((name) =>
    name.startsWith('linux-'),
  ))
    cpSync(join(root, BINDINGS, 'prebuilds', platform), join(program, 'prebuilds', platform), {
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
