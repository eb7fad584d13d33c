/** The scenario by Eclipse paho for Python, in one process that is handed the steps. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageFolder } from '../../src/entry.js';
import { within } from '../support/wait.js';
import { stepsOf, type Driver, type Seen } from './scenario.js';

export const paho: Driver = {
  name: 'paho',
  async run(host, port, version, prefix) {
    const child = spawn('/usr/bin/python3', [join(packageFolder(), 'test/interop/paho_scenario.py')]);
    const out = { text: '', complaint: '' };
    child.stdout.on('data', (bytes: Buffer) => (out.text += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (out.complaint += bytes.toString()));
    child.stdin.end(JSON.stringify({ host, port, version, prefix, steps: stepsOf(version) }));
    const code = await within('paho', new Promise((resolve) => child.once('close', resolve)), 60_000);
    if (code !== 0) throw new Error(out.complaint);
    // What paho_scenario.py writes is this.
    return JSON.parse(out.text) as Seen[][];
  },
};
