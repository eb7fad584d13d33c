/** `npm run test:crash -- --cycles N [--seed S] [--forgetful]`: the crash test, as long as you like. */
import { join } from 'node:path';
import { buildIfStale, install, requireNode, root, run } from './prepare.mjs';
import { asked } from './options.mjs';

const { options: values } = asked('npm run test:crash -- [--cycles N] [--seed S] [--forgetful]', {
  cycles: { type: 'string', default: '200' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  forgetful: { type: 'boolean', default: false },
});
requireNode();
install();
await buildIfStale();
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
const { crash } = await import(join(root, 'build/test/recovery/crash.js'));
const report = await crash({
  cycles: Number(values.cycles),
  seed: Number(values.seed),
  kind: values.forgetful ? 'forgetful' : 'product',
  progress: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify({ seed: Number(values.seed), ...report }, null, 2)}\n`);
process.exit(report.lost.length + report.violations.length > 0 ? 1 : 0);
