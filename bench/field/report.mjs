// What every scenario needs: a clock, percentiles, and the rows of the tables that are printed at the end.

/** Shorter windows and fewer steps: a look in under three minutes, not a measurement. */
export const isQuick = process.argv.includes('--quick');

export const rows = [];
const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;
/** When the machine's monotonic clock began, in ms since 1970: the plant's process counts from there, too. */
export const epochMs = Date.now() - monotonicMs();
export const nowMs = () => epochMs + monotonicMs();
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** number: of the target in TARGETS that the row is a figure of; none: a detail. */
export const row = (what, figure, target, isMet, number = 0) => {
  rows.push({ what, figure, target, isMet, number });
  process.stderr.write(`${isMet === false ? 'MISS' : '    '} ${what}: ${figure} (target ${target})\n`);
};

export const percentile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
};

/** The thirteen targets: what is asked, and the bar. */
const TARGETS = [
  ['CPU a tag, gateway and broker, one topic a tag, 20,000 tags/s', '1/4 of script and mosquitto'],
  ['most tags/s sustained, age p99 of two periods at most', 'twice script and mosquitto'],
  ['saturated RTU line against its physics, slaves by the standard', '0.95 at 9600, 0.90 at 115200, no silence broken'],
  ['healthy tags with 3 of 10 units dead, of their physics', '0.80; revived units back in 5 s'],
  ['wrong values over all faults', '0'],
  ['every tag right again after a fault clears', 'one poll and 1 s'],
  ['healthy neighbours while one unit misbehaves', '0.9 of their rate'],
  ['one illegal tag of 281, not declared', 'all others within 10 s, then 0.1 exceptions/s'],
  ['1000 writes in a burst', 'each once, in order, 1.15 of the floor'],
  ['command on a saturated line, dead units or not', 'the longest read and the write'],
  ['register to subscriber, beside script and mosquitto', 'p50 0.79, p99 0.75'],
  ['resident memory at 20,000 tags/s, broker included', '120 MB'],
  ['PLC that resets on a second request in flight', 'no resets'],
]; // prettier-ignore

export function targetTable() {
  const lines = ['| | what | bar | measured | |', '| ---: | --- | --- | --- | --- |'];
  for (const [index, [what, bar]] of TARGETS.entries()) {
    const own = rows.filter(({ number }) => number === index + 1);
    const verdict = own.length === 0 ? 'not run' : own.every(({ isMet }) => isMet) ? 'holds' : 'misses';
    lines.push(
      `| ${index + 1} | ${what} | ${bar} | ${own.map(({ figure }) => figure).join('; ')} | ${verdict} |`,
    );
  }
  return lines.join('\n');
}

export function rowTable() {
  const lines = ['| | what | figure | target |', '| --- | --- | --- | --- |'];
  for (const { what, figure, target, isMet } of rows)
    lines.push(`| ${isMet === false ? 'no' : 'yes'} | ${what} | ${figure} | ${target} |`);
  return lines.join('\n');
}
