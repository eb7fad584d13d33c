/** Tables from runs: how each figure stands to its target, and all figures beside each other. */
import { brokersOf, scenarios } from './scenarios.mjs';

const FAULTS = ['lost', 'duplicates', 'out_of_order', 'corrupt', 'disconnects', 'refused', 'stalls'];

export const pick = (run, path) => path.split('.').reduce((value, key) => value?.[key], run);

export function median(values) {
  const sorted = values.filter((value) => typeof value === 'number').sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

export function short(value) {
  if (value === undefined) return '-';
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 1e4) return `${Math.round(value / 1e3)}k`;
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** 1/12 says more than 0.083. */
const ratio = (value) => (value < 0.3 ? `1/${short(1 / value)}` : `${short(value)}x`);

/** Every row that has a target: the figures, their ratio, and whether it is held. */
export function targetTable(runs) {
  const lines = [
    '| what | reference | holdfast | ratio | must | aim | |',
    '|---|---:|---:|---:|---:|---:|---|',
  ];
  for (const [name, scenario] of Object.entries(scenarios)) {
    const mine = runs.filter((run) => run.name === name);
    if (mine.length === 0) continue;
    const brokers = brokersOf(scenario);
    const ours = brokers.find((broker) => broker.startsWith('holdfast'));
    for (const row of scenario.rows) {
      const of = (broker) =>
        median(mine.filter((run) => run.broker === broker).map((run) => pick(run, row.figure)));
      const [reference, figure] = [row.unit === undefined ? of(brokers[0]) : undefined, of(ours)];
      const value = row.unit === undefined ? figure / reference : figure;
      const text = (one) => (row.unit === undefined ? ratio(one) : `${short(one)} ${row.unit}`.trim());
      const holds = (target) => (row.isMore ? value >= target : value <= target);
      const verdict = figure === undefined ? 'no figure' : holds(row.aim) ? 'aim' : holds(row.must) ? 'holds' : 'misses'; // prettier-ignore
      const shown = row.unit === undefined && figure !== undefined ? ratio(value) : '';
      lines.push(
        `| ${row.title} | ${short(reference)} | ${short(figure)} | ${shown} | ${text(row.must)} | ${text(row.aim)} | ${verdict} |`,
      );
    }
  }
  const faults = faultsOf(runs.filter((run) => run.broker.startsWith('holdfast')));
  lines.push(`| lost, twice, out of order or corrupt in all of it | | ${faults || '0'} | | 0 | 0 | ${faults ? 'misses' : 'aim'} |`); // prettier-ignore
  return lines.join('\n');
}

/** All figures of all brokers, with ratios to the first. */
export function detailTable(runs) {
  const order = ['mosquitto', 'mosquitto-nodelay', 'holdfast', 'holdfast-commit', 'holdfast-gc', 'aedes'];
  const there = new Set(runs.map((run) => run.broker));
  const names = order.filter((name) => there.has(name));
  const lines = [
    `| scenario | figure | ${names.join(' | ')} |`,
    `|---|---|${names.map(() => '---:').join('|')}|`,
  ];
  for (const [name, scenario] of Object.entries(scenarios)) {
    const mine = runs.filter((run) => run.name === name);
    if (mine.length === 0 || scenario.figures.length === 0) continue;
    for (const figure of scenario.figures) {
      const of = (broker) =>
        median(mine.filter((run) => run.broker === broker).map((run) => pick(run, figure)));
      const first = of(brokersOf(scenario)[0]);
      const cells = names.map((broker) => {
        const value = of(broker);
        const isFirst = broker === brokersOf(scenario)[0];
        return isFirst || !first || value === undefined
          ? short(value)
          : `${short(value)} (${short(value / first)}x)`;
      });
      lines.push(`| ${name} | ${figure} | ${cells.join(' | ')} |`);
    }
    const faults = names.map((broker) => faultsOf(mine.filter((run) => run.broker === broker)));
    if (faults.some(Boolean)) lines.push(`| ${name} | faults | ${faults.join(' | ')} |`);
  }
  return lines.join('\n');
}

function faultsOf(runs) {
  const sum = (kind) =>
    runs.reduce((total, run) => total + (pick(run, kind) ?? pick(run, `drain.${kind}`) ?? 0), 0);
  const list = FAULTS.filter((kind) => sum(kind) > 0).map((kind) => `${kind} ${sum(kind)}`);
  const failed = runs.find((run) => run.failed);
  if (failed) list.push(`FAILED: ${failed.failed}`);
  return list.join(', ');
}
