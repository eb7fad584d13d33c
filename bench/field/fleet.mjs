// Targets 1, 2 and 12: 200 TCP devices with 100 tags each.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gatewayYaml, linkOf, startGateway, usageOf } from './gateway.mjs';
import { stampUnit, startPlant } from './plant.mjs';
import { nowMs, percentile, row, sleep } from './report.mjs';
import { client } from './subscriber.mjs';

const fieldscript = fileURLToPath(new URL('./script.mjs', import.meta.url));

/** Targets 1, 2 and 12. */
export async function fleet() {
  const names = Array.from({ length: 200 }, (_, index) => `d${index}`);
  const plant = await startPlant({
    buses: names.map((name) => ({
      name,
      link: { kind: 'tcp' },
      units: [stampUnit(1, { turnaroundMs: 2 })],
    })),
  });
  for (const [rate, periodMs, windowMs] of [
    ['1s', 1000, 12_000],
    ['500ms', 500, 8000],
    ['333ms', 333, 8000],
    ['200ms', 200, 8000],
    ['160ms', 160, 8000],
  ]) {
    const devices = names.map((name) => ({
      name,
      bus: name,
      unitId: 1,
      tags: Array.from({ length: 100 }, (_, address) => `r${address}: { holding: ${address} }`),
    }));
    const buses = Object.fromEntries(names.map((name) => [name, linkOf(plant.addresses[name], 0, 1000)]));
    const gateway = await startGateway(gatewayYaml({ buses, devices, rate }));
    let count = 0;
    const ages = [];
    const subscriber = await client(gateway.port, 'holdfast/bench/data/#', (bytes, _s, mid, end, atMs) => {
      count++;
      if (count % 101 === 0) ages.push(atMs - JSON.parse(bytes.latin1Slice(mid, end)).t);
    });
    await sleep(6000);
    const before = usageOf(gateway.pid);
    const startMs = nowMs();
    count = 0;
    ages.length = 0;
    await sleep(windowMs);
    const tookMs = nowMs() - startMs;
    const after = usageOf(gateway.pid);
    const perS = (count * 1000) / tookMs;
    const asked = 20_000_000 / periodMs;
    const microseconds = ((after.cpuS - before.cpuS) * 1e6) / count;
    const age = percentile(ages, 0.99);
    const isSustained = perS >= 0.95 * asked && age <= 2 * periodMs;
    const all = `${(perS / 1000).toFixed(1)}k of ${(asked / 1000).toFixed(0)}k tags/s, age p99 ${age.toFixed(0)} ms`;
    if (periodMs === 1000) {
      row('TCP fleet: CPU a tag', `${microseconds.toFixed(1)} us (${all})`, '6 us', microseconds <= 6);
      row('TCP fleet: RSS', `${after.rssMb.toFixed(0)} MB`, '120 MB', after.rssMb <= 120);
    } else
      row(`TCP fleet at ${rate}`, `${all}, ${microseconds.toFixed(1)} us a tag`, 'sustained', isSustained);
    subscriber.close();
    await gateway.stop();
    if (!isSustained) break;
  }
  await plant.stop();
}

/** Target 1 beside its yardstick on this machine: a script of thirty lines and mosquitto, the same fleet. */
export async function yardstick() {
  const names = Array.from({ length: 200 }, (_, index) => `d${index}`);
  const plant = await startPlant({
    buses: names.map((name) => ({
      name,
      link: { kind: 'tcp' },
      units: [stampUnit(1, { turnaroundMs: 2 })],
    })),
  });
  const devices = names.map((name) => ({
    name,
    bus: name,
    unitId: 1,
    tags: Array.from({ length: 100 }, (_, address) => `r${address}: { holding: ${address} }`),
  }));
  const buses = Object.fromEntries(names.map((name) => [name, linkOf(plant.addresses[name], 0, 1000)]));
  const ports = names.map((name) => plant.addresses[name].port);
  const ours = [];
  const theirs = [];
  for (let round = 0; round < 3; round++) {
    const gateway = await startGateway(gatewayYaml({ buses, devices }));
    ours.push(await cpuPerTag(gateway.port, [gateway.pid]));
    await gateway.stop();
    const stack = await startStack(ports);
    theirs.push(await cpuPerTag(stack.port, stack.pids));
    await stack.stop();
  }
  const [one, other] = [percentile(ours, 0.5), percentile(theirs, 0.5)];
  row(
    'CPU a tag beside script and mosquitto, three interleaved rounds',
    `${one.toFixed(1)} us, ${other.toFixed(1)} us: ${(one / other).toFixed(2)}`,
    0.25,
    one / other <= 0.25,
  );
  await plant.stop();
}

/** Microseconds of these processes for each tag that one subscriber gets. */
async function cpuPerTag(port, pids) {
  let count = 0;
  const subscriber = await client(port, 'holdfast/bench/data/#', () => count++);
  await sleep(5000);
  const cpuS = () => pids.reduce((sum, pid) => sum + usageOf(pid).cpuS, 0);
  const before = cpuS();
  count = 0;
  await sleep(8000);
  const microseconds = ((cpuS() - before) * 1e6) / count;
  subscriber.close();
  return microseconds;
}

/** mosquitto and the script, on a free port. */
async function startStack(ports) {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  writeFileSync(join(folder, 'mosquitto.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
  const broker = spawn('/usr/sbin/mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
  await sleep(500);
  const args = [fieldscript, ...[port, ...ports].map(String)];
  const script = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return {
    port,
    pids: [broker.pid, script.pid],
    stop: async () => {
      const ended = [broker, script].map((child) => new Promise((resolve) => child.once('exit', resolve)));
      script.kill();
      broker.kill();
      await Promise.all(ended);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
