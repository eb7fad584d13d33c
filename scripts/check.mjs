/** `npm run check`: types, lint, format, import graph, generated files. Runs all of it and fails at the end. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { asked } from './options.mjs';
import { install, requireNode, root } from './prepare.mjs';

asked('npm run check');
requireNode();
install();
const bin = (path) => join(root, 'node_modules', path);
const CHECKS = [
  ['types', [bin('typescript/bin/tsc'), '-p', root, '--noEmit', '--incremental', 'false']],
  ['lint', [bin('eslint/bin/eslint.js'), '--max-warnings=0', 'src', 'test']],
  ['format', [bin('prettier/bin/prettier.cjs'), '--check', '--log-level=warn', '.']],
  ['imports', [join(root, 'scripts/check-imports.mjs')]],
  ['generated files', [join(root, 'scripts/generate.mjs'), '--check']],
];

const failed = [];
for (const [name, args] of CHECKS) {
  process.stderr.write(`check: ${name}\n`);
  if (spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status !== 0) failed.push(name);
}
if (failed.length > 0) {
  process.stderr.write(`check failed: ${failed.join(', ')}\n`);
  process.exit(1);
}
process.stderr.write('check: all good\n');
