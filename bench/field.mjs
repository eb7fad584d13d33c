#!/usr/bin/env node
// The field benchmark: the gateway as users run it (dist/main.js run) on a simulated field with line physics, one MQTT
// subscriber behind it. Prints the thirteen targets, then every figure. `npm run bench:field [-- NAME...]`, see README.md.
import { cpus } from 'node:os';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { burst, latency, resets } from './field/commands.mjs';
import { faults, holes } from './field/faults.mjs';
import { fleet, sustained } from './field/fleet.mjs';
import { isQuick, nowMs, rows, rowTable, targetTable } from './field/report.mjs';
import { rtu } from './field/rtu.mjs';
import { asked, refuse } from '../scripts/options.mjs';

const scenarios = { rtu, burst, latency, fleet, sustained, holes, resets, faults };
const known = Object.keys(scenarios).join(' ');
const usage = `npm run bench:field -- [--quick] [--write] [SCENARIO ...]\n\n  SCENARIO  ${known}`;
const flag = { type: 'boolean', default: false };
const { options, names } = asked(usage, { quick: flag, write: flag }, { takesNames: true });
const wrong = names.find((name) => scenarios[name] === undefined);
if (wrong !== undefined) refuse(usage, `no scenario "${wrong}"`);
for (const name of names.length === 0 ? Object.keys(scenarios) : names) await scenarios[name]();
// Registers tell the time by the wall clock, so one that was set makes ages and wrong values of nothing.
const setByMs = Math.round(Date.now() - nowMs());
if (Math.abs(setByMs) > 50) {
  process.stderr.write(`the wall clock was set by ${setByMs} ms meanwhile: these figures say nothing\n`);
  process.exit(1);
}

const tables = `${targetTable()}\n\n### Every figure\n\n${rowTable()}\n`;
process.stdout.write(`\n${tables}`);
if (options.write) write(tables);
process.exitCode = rows.every(({ isMet }) => isMet !== false) ? 0 : 1;

/** The page between its marks is what was measured; the rest of it is written by hand. */
function write(text) {
  const page = fileURLToPath(new URL('../docs/performance.md', import.meta.url));
  const whole = readFileSync(page, 'utf8');
  const [begin, end] = ['<!-- field measured -->', '<!-- field end -->'];
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} lost its marks`);
  const { length, 0: cpu } = cpus();
  const day = new Date().toISOString().slice(0, 10);
  const head = `${day}${isQuick ? ', --quick' : ''}, ${length} x ${cpu.model.trim()}, Node ${process.versions.node}.`;
  writeFileSync(page, `${whole.slice(0, from + begin.length)}\n\n${head}\n\n${text}\n${whole.slice(to)}`);
}
