/** `holdfast check`: everything that is wrong with a config, then what it will cost on the wire. */
import { loadPlant, loadPlantOfMap } from '../config/loadplant.js';
import { readSource } from '../config/load.js';
import { type Problem, formatProblem, sortProblems } from '../config/problems.js';
import type { Plant } from '../config/plant.js';
import { durationText, sizeText } from '../config/units.js';
import { type BusPlan, COMFORTABLE, type PlantPlan, type UplinkPlan, percent, planOf } from './plan.js';
import { type Context, EXIT, UsageError, type Verb, textOption } from './verb.js';

export const verb: Verb = {
  name: 'check',
  summary: 'look a config over and say what it costs on the wire',
  arguments: '[FILE]',
  argumentHelp: [{ name: 'FILE', description: 'the gateway file, as with --config' }],
  options: [
    { flags: '-c, --config FILE', description: 'the gateway file' },
    { flags: '--map FILE', description: 'check a device map alone' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'check --config holdfast.yaml', meaning: 'problems, then the plan' },
    { command: 'check --map devices/my-meter.yaml', meaning: 'a device map of your own' },
  ],
  run: check,
};

async function check(context: Context): Promise<number> {
  const { options, args, env } = context;
  const map = textOption(options, 'map');
  if (map !== undefined) return checkMap(map, context);
  const file = textOption(options, 'config') ?? args[0];
  if (file === undefined) throw new UsageError('which file? write holdfast check --config FILE');
  const { plant, problems } = await loadPlant(file, env);
  const plan = plant === null ? null : planOf(plant);
  const all =
    plant === null || plan === null ? problems : sortProblems([...problems, ...overloads(plant, plan, env)]);
  const isValid = plant !== null && all.every(({ severity }) => severity !== 'error');
  if (options['json'] === true)
    context.stdout.write(`${JSON.stringify({ ok: isValid, problems: all, plan }, null, 2)}\n`);
  else
    context.stdout.write(
      `${[...all.map(formatProblem), ...(plan === null ? [] : planText(plan)), totals(all)].join('\n')}\n`,
    );
  return isValid ? EXIT.ok : EXIT.configNotValid;
}

function checkMap(file: string, { env, options, stdout }: Context): number {
  const { device, problems } = loadPlantOfMap(file, env);
  const hasErrors = problems.some(({ severity }) => severity === 'error');
  if (options['json'] === true)
    stdout.write(
      `${JSON.stringify({ ok: !hasErrors, problems, tags: device?.tags.length ?? 0 }, null, 2)}\n`,
    );
  else {
    const tags = hasErrors || device === null ? [] : [`${device.tags.length} tags`];
    stdout.write(`${[...problems.map(formatProblem), ...tags, totals(problems)].join('\n')}\n`);
  }
  return hasErrors ? EXIT.configNotValid : EXIT.ok;
}

/** All the time that a line has. */
const FULL = 1;

/**
 * Buses that cannot keep the asked rates, and tags that cannot be read at all. More than a line can carry is an error;
 * how long a network device takes is only assumed before it was measured. `run` takes both, and serves late.
 */
function overloads(plant: Plant, { buses }: PlantPlan, env: NodeJS.ProcessEnv): Problem[] {
  const heavy = buses.filter(({ load, unreadable }) => load > COMFORTABLE || unreadable.length > 0);
  if (heavy.length === 0) return [];
  const source = readSource(plant.file, env);
  return heavy.map((bus) => ({
    severity: bus.load > FULL && !bus.isAssumed ? 'error' : 'warning',
    file: plant.file,
    ...source.place(['buses', bus.name], 'key'),
    code: 'HF3302',
    path: `buses.${bus.name}`,
    text: overloadText(bus),
  }));
}

function overloadText({ load, link, fastestMs, stretch, fixes, unreadable }: BusPlan): string {
  if (unreadable.length > 0)
    return `no request within the limits reads ${unreadable.slice(0, 5).join(', ')}; widen limits or readable`;
  const slowest = durationText(Math.ceil((fastestMs * stretch) / 100) * 100);
  return `planned load ${percent(load)} of ${link} at the asked rates; the fastest rate that fits instead of ${durationText(fastestMs)} is ${slowest}; cheapest fixes: ${fixes.join(', or ')}`;
}

function planText({ buses, topics, users, listeners, store, uplinks }: PlantPlan): string[] {
  const rows = buses.map((bus) => [bus.name, bus.link, busText(bus)]);
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map(
    ([name = '', link = '', text = '']) =>
      `Bus ${name.padEnd(widths[0] ?? 0)}  ${link.padEnd(widths[1] ?? 0)}  ${text}`,
  );
  const hints = buses.flatMap(({ name, hint }) => (hint === null ? [] : [`Line ${name}  ${hint}`]));
  const shares = buses.flatMap(({ name, share }) => (share === null ? [] : [`Share ${name}  ${share}`]));
  const userText = users.count === null ? 'no users' : counted(users.count, 'user');
  const ruleText = users.rules === null ? 'whoever connects may do all' : counted(users.rules, 'access rule');
  return [
    ...lines,
    ...hints,
    ...shares,
    `Topics  ${counted(topics.count, 'data topic')}, longest ${topics.longest} bytes, ${topics.levels} levels${topics.example === '' ? '' : `; example ${topics.example}`}`,
    `Broker  ${listeners.join(', ')}; store ${store}`,
    `Users   ${userText}, anonymous ${users.anonymous ? 'on' : 'off'}; ${ruleText}; ${counted(users.writable, 'tag')} can be written`,
    ...uplinks.map(uplinkText),
  ];
}

function uplinkText({ name, nodes, topics, rules, queueBytes, queueMs }: UplinkPlan): string {
  const lasts = Number.isFinite(queueMs)
    ? ` lasts ${durationText(roundTime(queueMs))} when every poll is a change`
    : '';
  const match = `${counted(topics, 'topic')} match ${counted(rules, 'rule')}`;
  return `Uplink ${name}  ${nodes.join(', ')}; ${match}; queue ${sizeText(queueBytes)}${lasts}`;
}

/** To whole units of what people say: seconds, minutes, hours, days. */
function roundTime(ms: number): number {
  const unit = [86_400_000, 3_600_000, 60_000, 1_000].find((size) => ms >= 2 * size) ?? 1;
  return Math.floor(ms / unit) * unit;
}

function busText(bus: BusPlan): string {
  const { devices, tags, requests, cycleMs, load, fastestMs, isAssumed } = bus;
  const asked = fastestMs === 0 ? '' : ` at ${durationText(fastestMs)} and slower`;
  const parts = [
    `${counted(devices, 'device')}, ${counted(tags, 'tag')}`,
    ` -> ${counted(requests, 'request')} per cycle, ${Math.round(cycleMs)} ms${isAssumed ? ' (assumed)' : ' on the wire'}`,
    `, ${percent(load)} load${asked}`,
  ];
  return parts.join('');
}

function totals(problems: readonly Problem[]): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  if (problems.length === 0) return 'no problems';
  return `${counted(errors, 'error')}, ${counted(warnings, 'warning')}`;
}

function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`;
}
