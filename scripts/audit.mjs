/**
 * `npm run audit`: known vulnerabilities in what is installed with holdfast. Fails when there is one, unless --tell; a
 * registry that does not answer is said and is no failure.
 */
import { spawnSync } from 'node:child_process';
import { asked } from './options.mjs';
import { root } from './prepare.mjs';

const { options } = asked('npm run audit [-- --tell]', { tell: { type: 'boolean', default: false } });
const WAIT_MS = 30_000;

const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json', '--fetch-retries=0'], {
  cwd: root,
  encoding: 'utf8',
  timeout: WAIT_MS,
});
const report = parsed(stdout);
const total = report?.metadata?.vulnerabilities?.total;
if (total === undefined) {
  process.stdout.write('audit: the registry did not answer; nothing is known\n');
} else if (total === 0) {
  process.stdout.write('audit: no known vulnerability in what is installed\n');
} else {
  for (const [name, { severity, range }] of Object.entries(report.vulnerabilities))
    process.stdout.write(`audit: ${name} ${range}: ${severity}\n`);
  if (!options.tell) process.exitCode = 1;
}

function parsed(text) {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}
