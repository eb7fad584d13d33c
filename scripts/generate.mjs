/**
 * Writes every generated file (schemas, reference pages, tables), or with --check says which are stale.
 * A generator is a module of the built tree that exports `generated(): Promise<Map<path, text>>`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { asked } from './options.mjs';
import { install, root, run } from './prepare.mjs';

/** Compiled modules, in build/. */
const GENERATORS = ['src/config/generate.js', 'src/cli/manpage.js', 'test/conformance/generate.js'];

const { options } = asked('npm run generate [-- --check]', { check: { type: 'boolean', default: false } });
const isCheck = options.check;
install();
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
const stale = [];
for (const generator of GENERATORS) {
  const path = join(root, 'build', generator);
  if (!existsSync(path)) continue;
  const { generated } = await import(path);
  for (const [file, text] of await generated(root)) {
    const target = join(root, file);
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue;
    if (isCheck) {
      stale.push(file);
      continue;
    }
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
    process.stdout.write(`wrote ${file}\n`);
  }
}
if (stale.length > 0) {
  process.stderr.write(`stale generated files (npm run generate): ${stale.join(', ')}\n`);
  process.exit(1);
}
