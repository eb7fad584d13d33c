#!/usr/bin/env node
// The field benchmark: the gateway as users run it (dist/main.js run) on a simulated field with line physics, one MQTT
// subscriber behind it. Prints one row a figure with its target. `npm run bench:field [-- NAME...]`, see README.md.
import { burst, latency, resets } from './field/commands.mjs';
import { faults, holes } from './field/faults.mjs';
import { fleet, sustained, yardstick } from './field/fleet.mjs';
import { rows } from './field/report.mjs';
import { rtu } from './field/rtu.mjs';

const scenarios = { rtu, burst, latency, fleet, sustained, yardstick, holes, resets, faults };

const names = process.argv.slice(2).length === 0 ? Object.keys(scenarios) : process.argv.slice(2);
for (const name of names) {
  if (scenarios[name] === undefined) {
    process.stderr.write(`no scenario "${name}"; there are ${Object.keys(scenarios).join(', ')}\n`);
    process.exit(2);
  }
  await scenarios[name]();
}
const met = rows.filter(({ isMet }) => isMet !== false).length;
process.stdout.write(`| | what | figure | target |\n| --- | --- | --- | --- |\n`);
for (const { what, figure, target, isMet } of rows) {
  process.stdout.write(`| ${isMet === false ? 'no' : 'yes'} | ${what} | ${figure} | ${target} |\n`);
}
