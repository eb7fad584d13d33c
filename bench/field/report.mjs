// What every scenario needs: a clock, percentiles, and the rows of the table that is printed at the end.

export const rows = [];
export const nowMs = () => performance.timeOrigin + performance.now();
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const row = (what, figure, target, isMet) => {
  rows.push({ what, figure, target, isMet });
  process.stderr.write(`${isMet === false ? 'MISS' : '    '} ${what}: ${figure} (target ${target})\n`);
};

export const percentile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
};
