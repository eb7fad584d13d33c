/**
 * How much memory the daemon takes: idle, and after polling 1,000 tags a second. `npm run accept:memory` watches for ten
 * minutes; here it is half a minute, which shows a leak of every sample or connection but not a slow one.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { ModbusServer } from '../support/modbusserver.js';

const IS_LONG = process.env['HOLDFAST_LONG'] === '1';
const IDLE_MAX_MB = 85;
/** In the first minute the young generation still finds its size; that is no leak. */
const GROWTH_MAX_MB = IS_LONG ? 5 : 15;
const TAGS = 1000;
const WARM_S = IS_LONG ? 60 : 15;
const WATCHED_S = IS_LONG ? 600 : 15;

function residentMb(pid: number): { rss: number; anonymous: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]) / 1024;
  return { rss: field('VmRSS'), anonymous: field('RssAnon') };
}

const pause = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** The middle of what is seen in some seconds: a collection in between says nothing. */
async function settledMb(pid: number, seconds: number): Promise<number> {
  const seen: number[] = [];
  for (let count = 0; count < seconds * 4; count += 1) {
    seen.push(residentMb(pid).rss);
    await pause(0.25);
  }
  return seen.sort((a, b) => a - b)[Math.floor(seen.length / 2)] ?? 0;
}

const tagLines = Array.from(
  { length: TAGS },
  (_, index) => `      t${index}: { holding: ${index}, type: uint16, rate: 1s, report: always, qos: 0 }`,
);

const configOf = (port: number, tags: readonly string[]): string => `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port} }
devices:
  dut:
    bus: plc
    unit_id: 1
    tags:
${tags.join('\n')}
`;

test(`idle, with one worker, it takes at most ${IDLE_MAX_MB} MB; 1,000 tags a second add at most ${GROWTH_MAX_MB} MB over time`, async (t) => {
  const registers = Array.from({ length: TAGS }, (_, index) => index);
  const server = await new ModbusServer('libmodbus', { kind: 'tcp' }, 1, {
    'holding-register': { 0: registers },
  }).start();
  const idle = new Daemon(configOf(server.port, ['      t0: { holding: 0, type: uint16, rate: 5s }']));
  const busy = new Daemon(configOf(server.port, tagLines));
  try {
    await idle.start();
    await pause(3);
    const rest = residentMb(idle.pid);
    t.diagnostic(`idle: ${rest.rss.toFixed(1)} MB resident, ${rest.anonymous.toFixed(1)} MB of it anonymous`);
    assert.ok(rest.rss <= IDLE_MAX_MB, `${rest.rss} MB`);
    await idle.stop();

    await busy.start();
    const client = await connectAsync(`mqtt://127.0.0.1:${busy.port()}`);
    let count = 0;
    client.on('message', () => (count += 1));
    await client.subscribeAsync('holdfast/gw/data/#');
    await pause(WARM_S);
    const before = await settledMb(busy.pid, 5);
    const [mark, markMs] = [count, performance.now()];
    await pause(WATCHED_S);
    const perSecond = (count - mark) / ((performance.now() - markMs) / 1000);
    const after = await settledMb(busy.pid, 5);
    t.diagnostic(
      `${Math.round(perSecond)} samples a second for ${WATCHED_S} s: from ${before.toFixed(1)} MB to ${after.toFixed(1)} MB`,
    );
    await client.endAsync(true);
    assert.ok(perSecond > TAGS * 0.95, `only ${perSecond} samples a second`);
    assert.ok(after - before <= GROWTH_MAX_MB, `grew by ${after - before} MB`);
    assert.equal(await busy.stop(), 0);
  } finally {
    await idle.remove();
    await busy.remove();
    await server.kill();
  }
});
