/** `npm run start` and `npm run simulate`: prepares, then hands everything to the built program. */
import { spawn } from 'node:child_process';
import { buildIfStale, install, launcher, requireNode } from './prepare.mjs';

requireNode();
install();
await buildIfStale();
const child = spawn(launcher, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 130 : (code ?? 1)));
