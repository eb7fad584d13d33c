// Targets 5 to 8: faults on real sockets and pseudo-terminals; masses of exchanges are npm run accept:faults.
import { gatewayYaml, linkOf, startGateway } from './gateway.mjs';
import { stampAgeMs, stampUnit, startPlant } from './plant.mjs';
import { isQuick, nowMs, row, sleep } from './report.mjs';
import { client } from './subscriber.mjs';

/** Target 8. */
export async function holes() {
  const plant = await startPlant({
    buses: [
      {
        name: 'plc',
        link: { kind: 'tcp' },
        units: [
          stampUnit(1, {
            turnaroundMs: 2,
            holes: [{ table: 'holding-register', address: 137, quantity: 1 }],
          }),
        ],
      },
    ],
  });
  const tags = Array.from({ length: 281 }, (_, address) => `r${address}: { holding: ${address} }`);
  const gateway = await startGateway(
    gatewayYaml({
      buses: { plc: linkOf(plant.addresses.plc, 0, 1000) },
      devices: [{ name: 'plc1', bus: 'plc', unitId: 1, tags }],
    }),
  );
  const startMs = nowMs();
  const good = new Map();
  const subscriber = await client(gateway.port, 'holdfast/bench/data/#', (bytes, start, mid, end, atMs) => {
    if (JSON.parse(bytes.latin1Slice(mid, end)).q === 'good') good.set(bytes.latin1Slice(start, mid), atMs);
  });
  while (good.size < 280 && nowMs() - startMs < 15_000) await sleep(20);
  const tookMs = nowMs() - startMs;
  row(
    'one illegal tag of 281: legal tags',
    `${good.size} in ${tookMs.toFixed(0)} ms`,
    '280 in 10 s',
    good.size === 280 && tookMs <= 10_000,
    8,
  );
  await sleep(isQuick ? 2000 : 5000);
  await plant.call('clear');
  const watchMs = isQuick ? 10_000 : 20_000;
  await sleep(watchMs);
  const perS = ((await plant.call('counts', 'plc')).exceptions * 1000) / watchMs;
  row(
    'one illegal tag: exceptions a second afterwards',
    `${perS.toFixed(2)} exceptions/s`,
    '< 0.1',
    perS < 0.1,
    8,
  );
  subscriber.close();
  await gateway.stop();
  await plant.stop();
}

/** Targets 5, 6 and 7, on real sockets and pseudo-terminals; masses of exchanges are npm run accept:faults. */
export async function faults() {
  for (const kind of ['rtu', 'tcp']) await faultsOn(kind);
}

/** One of each kind of link: what is mistaken most easily there. */
const QUICK_FAULTS = { rtu: ['late'], tcp: ['wrong-unit'] };
const ANSWER_FAULTS = [
  'slow', 'late', 'silent', 'busy', 'exception', 'bad-crc', 'truncated', 'over-long', 'split', 'garbage-prefix',
  'duplicate', 'wrong-unit', 'wrong-function', 'wrong-tid', 'wrong-protocol-id', 'wrong-count', 'cut', 'rst', 'close',
]; // prettier-ignore

async function faultsOn(kind) {
  const unitIds = [1, 2, 3, 4];
  const unitsOf = (ids) => ids.map((unitId) => stampUnit(unitId, { turnaroundMs: 2 }));
  const buses =
    kind === 'rtu'
      ? [{ name: 'bus1', link: { kind: 'rtu', line: { baud: 115200 } }, units: unitsOf(unitIds) }]
      : unitIds.map((unitId) => ({ name: `bus${unitId}`, link: { kind: 'tcp' }, units: unitsOf([unitId]) }));
  const busOf = (unitId) => (kind === 'rtu' ? 'bus1' : `bus${unitId}`);
  const plant = await startPlant({ buses });
  const devices = unitIds.map((unitId) => ({
    name: `u${unitId}`,
    bus: busOf(unitId),
    unitId,
    tags: Array.from({ length: 40 }, (_, index) => (index < 20 ? index : 180 + index)).map(
      (address) => `r${address}: { holding: ${address} }`,
    ),
  }));
  const links = Object.fromEntries(
    buses.map(({ name }) => [name, linkOf(plant.addresses[name], 115200, 300)]),
  );
  const gateway = await startGateway(gatewayYaml({ buses: links, devices, rate: '200ms' }));
  const good = new Map();
  const counts = new Map();
  let wrong = 0;
  let example = '';
  const subscriber = await client(
    gateway.port,
    'holdfast/bench/data/#',
    (bytes, start, mid, end, atMs, isRetained) => {
      if (isRetained) return;
      const topic = bytes.latin1Slice(start, mid);
      const sample = JSON.parse(bytes.latin1Slice(mid, end));
      if (sample.q !== 'good') return;
      const [, , , device, tag] = topic.split('/');
      good.set(topic, atMs);
      counts.set(device, (counts.get(device) ?? 0) + 1);
      const ageMs = stampAgeMs(sample.v, Number(device.slice(1)), Number(tag.slice(1)), sample.t);
      if (ageMs >= 0 && ageMs <= 1000) return;
      wrong++;
      example = `${topic} ${JSON.stringify(sample)} age ${ageMs}`;
    },
  );
  await sleep(3000);
  const neighbours = () => [2, 3, 4].reduce((sum, unitId) => sum + (counts.get(`u${unitId}`) ?? 0), 0);
  const quiet = neighbours();
  await sleep(3000);
  const usual = neighbours() - quiet;
  const worst = { backMs: 0, share: Infinity };
  for (const name of isQuick ? QUICK_FAULTS[kind] : ANSWER_FAULTS) {
    if (kind === 'rtu' && /^(wrong-tid|wrong-protocol-id|rst|close|cut)$/.test(name)) continue;
    const fault = [{ name, probability: 0.5, ...(name === 'late' ? { ms: 400 } : {}) }];
    const wrongBefore = wrong;
    // All units first, for values and recovery; then one alone, for its neighbours.
    for (const unitId of unitIds) await plant.call('setFaults', busOf(unitId), unitId, fault);
    await sleep(3000);
    for (const unitId of unitIds) await plant.call('setFaults', busOf(unitId), unitId, []);
    const clearedAtMs = nowMs();
    const isBack = () => good.size === 160 && [...good.values()].every((atMs) => atMs > clearedAtMs);
    while (!isBack() && nowMs() - clearedAtMs < 15_000) await sleep(10);
    const backMs = nowMs() - clearedAtMs;
    await sleep(1000);
    await plant.call('setFaults', busOf(1), 1, fault);
    await sleep(500);
    const before = neighbours();
    await sleep(3000);
    const share = (neighbours() - before) / usual;
    await plant.call('setFaults', busOf(1), 1, []);
    await sleep(1500);
    const isMet = wrong === wrongBefore && backMs <= 1200 && share >= 0.9;
    const figure = `wrong ${wrong - wrongBefore}, right again ${backMs.toFixed(0)} ms, neighbours ${share.toFixed(2)}`;
    row(`${kind} ${name}`, figure, '0, 1200 ms, 0.9', isMet);
    worst.backMs = Math.max(worst.backMs, backMs);
    worst.share = Math.min(worst.share, share);
    if (wrong !== wrongBefore) process.stderr.write(`     ${example}\n`);
  }
  row(`${kind} faults: wrong values in all`, wrong, 0, wrong === 0, 5);
  const { backMs, share } = worst;
  row(
    `${kind} faults: right again, slowest`,
    `${kind} ${backMs.toFixed(0)} ms`,
    '1200 ms',
    backMs <= 1200,
    6,
  );
  row(`${kind} faults: neighbours, least`, `${kind} ${share.toFixed(2)}`, 0.9, share >= 0.9, 7);
  const busCounts = await plant.call('counts', 'bus1');
  if (kind === 'rtu')
    row('rtu faults: silence violations', busCounts.silenceViolations, 0, busCounts.silenceViolations === 0);
  subscriber.close();
  await gateway.stop();
  await plant.stop();
}
