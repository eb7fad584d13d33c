// Targets 3, 4 and 10: saturated lines.
import { gatewayYaml, linkOf, startGateway } from './gateway.mjs';
import { cheapest, scattered, timesOf } from './physics.mjs';
import { stampAgeMs, stampUnit, startPlant } from './plant.mjs';
import { isQuick, nowMs, percentile, row, sleep } from './report.mjs';
import { client } from './subscriber.mjs';

/** An RTU line of ten units with 40 scattered tags each, polled flat out by a gateway with one subscriber. */
async function saturatedLine(baud, turnaroundMs, timeoutMs) {
  const units = Array.from({ length: 10 }, (_, index) => index + 1);
  const plant = await startPlant({
    buses: [
      {
        name: 'line',
        link: { kind: 'rtu', line: { baud } },
        units: units.map((unitId) => stampUnit(unitId, { turnaroundMs })),
      },
    ],
  });
  const devices = units.map((unitId) => ({
    name: `u${unitId}`,
    bus: 'line',
    unitId,
    tags: [
      ...scattered(unitId).map((address) => `r${address}: { holding: ${address} }`),
      'w: { holding: 990, rate: once, write: true }',
    ],
  }));
  const gateway = await startGateway(
    gatewayYaml({ buses: { line: linkOf(plant.addresses.line, baud, timeoutMs) }, devices, rate: '100ms' }),
  );
  const counts = new Map();
  let wrong = 0;
  const subscriber = await client(
    gateway.port,
    'holdfast/bench/data/#',
    (bytes, start, mid, end, atMs, isRetained) => {
      if (isRetained) return;
      const [, , , device, tag] = bytes.latin1Slice(start, mid).split('/');
      if (tag === 'w') return;
      const sample = JSON.parse(bytes.latin1Slice(mid, end));
      if (sample.q !== 'good') return;
      counts.set(device, (counts.get(device) ?? 0) + 1);
      const ageMs = stampAgeMs(sample.v, Number(device.slice(1)), Number(tag.slice(1)), atMs);
      if (ageMs < 0 || ageMs > 2000) wrong++;
    },
  );
  const times = timesOf(baud, turnaroundMs);
  const cuts = units.map((unitId) => cheapest(scattered(unitId), times.readMs));
  return {
    plant,
    gateway,
    subscriber,
    counts,
    times,
    cuts,
    wrong: () => wrong,
    longestMs: Math.max(...cuts.map(({ longestMs }) => longestMs)),
    /** Tags of these units delivered in a window, as a share of what the line could carry if nobody else were on it. */
    async share(healthy, windowMs) {
      const before = healthy.map((unitId) => counts.get(`u${unitId}`) ?? 0);
      const startMs = nowMs();
      await sleep(windowMs);
      const tookMs = nowMs() - startMs;
      const tags = healthy.reduce(
        (sum, unitId, index) => sum + (counts.get(`u${unitId}`) ?? 0) - before[index],
        0,
      );
      const cycleMs = healthy.reduce((sum, unitId) => sum + cuts[unitId - 1].ms, 0);
      return tags / ((40 * healthy.length * tookMs) / cycleMs);
    },
    async stop() {
      subscriber.close();
      await gateway.stop();
      await plant.stop();
    },
  };
}

const ALL = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const HEALTHY = [1, 2, 4, 5, 7, 8, 10];
const DEAD = [3, 6, 9];
const LINES = [
  { baud: 9600, turnaroundMs: 3, timeoutMs: 500, target: 0.95, windowMs: 24_000 },
  { baud: 115200, turnaroundMs: 1, timeoutMs: 200, target: 0.9, windowMs: isQuick ? 5000 : 10_000 },
].slice(isQuick ? 1 : 0);
const COMMANDS = isQuick ? 8 : 24;
/** Targets 3, 4 and 10. */
export async function rtu() {
  for (const { baud, turnaroundMs, timeoutMs, target, windowMs } of LINES) {
    const line = await saturatedLine(baud, turnaroundMs, timeoutMs);
    await sleep(isQuick ? 3000 : 6000);
    await line.plant.call('clear');
    const share = await line.share(ALL, windowMs);
    row(`RTU ${baud} flat out, of the physics`, share.toFixed(3), target, share >= target, 3);
    const counts = await line.plant.call('counts', 'line');
    row(`RTU ${baud} silence violations`, counts.silenceViolations, 0, counts.silenceViolations === 0, 3);
    await writes(line, baud, 'no unit dead', [1]);
    for (const unitId of DEAD) await line.plant.call('setFaults', 'line', unitId, [{ name: 'dead' }]);
    await sleep(8000);
    const healthy = await line.share(HEALTHY, windowMs);
    const what = `RTU ${baud}, 3 of 10 dead: healthy tags, of their physics`;
    row(what, healthy.toFixed(3), 0.8, healthy >= 0.8, 4);
    await writes(line, baud, '3 dead', [1, 2, 4]);
    await revive(line, baud);
    row(`RTU ${baud} wrong values`, line.wrong(), 0, line.wrong() === 0, 5);
    await line.stop();
  }
}

async function writes(line, baud, what, unitIds) {
  await line.plant.call('clear');
  const sentAtMs = [];
  for (let index = 0; index < COMMANDS; index++) {
    await sleep(300 + ((index * 137) % 250));
    sentAtMs.push(nowMs());
    line.subscriber.publish(`holdfast/bench/set/u${unitIds[index % unitIds.length]}/w`, `${index}`);
  }
  await sleep(1000);
  const written = (await line.plant.call('exchanges', 'line')).filter(
    ({ functionCode }) => functionCode === 6,
  );
  const delays = written.map(({ answeredAtMs }, index) => answeredAtMs - (sentAtMs[index] ?? NaN));
  const limitMs = line.longestMs + line.times.writeMs;
  const max = Math.max(...delays);
  const figure = `p50 ${percentile(delays, 0.5).toFixed(0)}, max ${max.toFixed(0)} ms, ${written.length} of ${COMMANDS}`;
  row(
    `RTU ${baud} flat out, ${what}: command`,
    figure,
    `max ${limitMs.toFixed(0)} ms`,
    max <= limitMs && written.length === COMMANDS,
    10,
  );
}

async function revive(line, baud) {
  const seen = () => DEAD.map((unitId) => line.counts.get(`u${unitId}`) ?? 0);
  const before = seen();
  const startMs = nowMs();
  for (const unitId of DEAD) await line.plant.call('setFaults', 'line', unitId, []);
  while (seen().some((count, index) => count === before[index]) && nowMs() - startMs < 20_000)
    await sleep(20);
  const tookMs = nowMs() - startMs;
  row(`RTU ${baud}: three revived units back after`, `${tookMs.toFixed(0)} ms`, '5000 ms', tookMs <= 5000, 4);
}
