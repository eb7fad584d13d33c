// Targets 1, 2 and 12: 200 TCP devices with 100 tags each, alone and beside the yardstick.
import { gatewayYaml, linkOf, startGateway, usageOf } from './gateway.mjs';
import { stampUnit, startPlant } from './plant.mjs';
import { isQuick, nowMs, percentile, row, sleep } from './report.mjs';
import { startStack } from './stack.mjs';
import { client } from './subscriber.mjs';

const NAMES = Array.from({ length: 200 }, (_, index) => `d${index}`);
const TAGS = Array.from({ length: 100 }, (_, address) => `r${address}: { holding: ${address} }`);

const startFleet = () =>
  startPlant({
    buses: NAMES.map((name) => ({
      name,
      link: { kind: 'tcp' },
      units: [stampUnit(1, { turnaroundMs: 2 })],
    })),
  });

/** The gateway on the fleet; like the stack, with the processes that count. */
async function startOurs(plant, periodMs) {
  const devices = NAMES.map((name) => ({ name, bus: name, unitId: 1, tags: TAGS }));
  const buses = Object.fromEntries(NAMES.map((name) => [name, linkOf(plant.addresses[name], 0, 1000)]));
  const gateway = await startGateway(gatewayYaml({ buses, devices, rate: `${periodMs}ms` }));
  return { ...gateway, pids: [gateway.pid] };
}

const startTheirs = (plant, periodMs) =>
  startStack({ ports: NAMES.map((name) => plant.addresses[name].port), periodMs });

/** What one subscriber gets, how old it is then, and what that costs. */
async function measure({ port, pids }, periodMs, windowMs) {
  let count = 0;
  const ages = [];
  const subscriber = await client(port, 'holdfast/bench/data/#', (bytes, _s, mid, end, atMs) => {
    count++;
    if (count % 101 === 0) ages.push(atMs - JSON.parse(bytes.latin1Slice(mid, end)).t);
  });
  await sleep(6000);
  const cpuS = () => pids.reduce((sum, pid) => sum + usageOf(pid).cpuS, 0);
  const before = cpuS();
  const startMs = nowMs();
  count = 0;
  ages.length = 0;
  await sleep(windowMs);
  const perS = (count * 1000) / (nowMs() - startMs);
  const microseconds = ((cpuS() - before) * 1e6) / count;
  const rssMb = pids.reduce((sum, pid) => sum + usageOf(pid).rssMb, 0);
  subscriber.close();
  const askedPerS = (NAMES.length * TAGS.length * 1000) / periodMs;
  const ageMs = percentile(ages, 0.99);
  return {
    perS,
    microseconds,
    rssMb,
    isSustained: perS >= 0.95 * askedPerS && ageMs <= 2 * periodMs,
    text: `${(perS / 1000).toFixed(1)}k of ${(askedPerS / 1000).toFixed(0)}k tags/s, age p99 ${ageMs.toFixed(0)} ms`,
  };
}

/**
 * Targets 1 and 12, beside the script with mosquitto on the same plant, interleaved; mosquitto's time counts, and the
 * gateway retains what it publishes, too.
 */
export async function fleet() {
  const plant = await startFleet();
  const [ours, theirs] = [[], []];
  for (let round = 0; round < (isQuick ? 1 : 3); round++) {
    for (const [start, figures] of [
      [startOurs, ours],
      [startTheirs, theirs],
    ]) {
      const stack = await start(plant, 1000);
      figures.push(await measure(stack, 1000, isQuick ? 6000 : 10_000));
      await stack.stop();
    }
  }
  const middle = (figures, name) => percentile(figures.map((figure) => figure[name]), 0.5); // prettier-ignore
  const [one, other] = [middle(ours, 'microseconds'), middle(theirs, 'microseconds')];
  row(
    'TCP fleet: CPU a tag, script and mosquitto beside it',
    `${one.toFixed(1)} us, ${other.toFixed(1)} us: ${(one / other).toFixed(2)}`,
    0.25,
    one / other <= 0.25,
    1,
  );
  const isWhole = ours.every(({ isSustained }) => isSustained);
  row('TCP fleet: every tag in time', ours.map(({ text }) => text).join('; '), '20k tags/s', isWhole);
  const rssMb = Math.max(...ours.map((figure) => figure.rssMb));
  row('TCP fleet: RSS', `${rssMb.toFixed(0)} MB`, '120 MB', rssMb <= 120, 12);
  await plant.stop();
}

/** Target 2: faster and faster, until it is too fast; the script with mosquitto, then the gateway. */
export async function sustained() {
  const plant = await startFleet();
  const most = async (what, start, periods) => {
    let best = 0;
    for (const periodMs of periods) {
      const stack = await start(plant, periodMs);
      const { perS, microseconds, isSustained, text } = await measure(stack, periodMs, 6000);
      await stack.stop();
      process.stderr.write(
        `     ${what}: ${text}, ${microseconds.toFixed(1)} us a tag${isSustained ? '' : ': too fast'}\n`,
      );
      if (!isSustained) break;
      best = perS;
    }
    return best;
  };
  const theirs = await most('script and mosquitto', startTheirs, isQuick ? [500] : [500, 400, 333, 250, 200]);
  const ours = await most('holdfast', startOurs, isQuick ? [250] : [250, 200, 160, 125, 100, 80]);
  const ratio = ours / theirs;
  const figure = `${(ours / 1000).toFixed(0)}k, ${(theirs / 1000).toFixed(0)}k: ${ratio.toFixed(2)}`;
  row('most tags/s sustained, script and mosquitto beside it', figure, 2, ratio >= 2, 2);
  await plant.stop();
}
