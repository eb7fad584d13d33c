/** The gateway as users run it on every kind of link, and what becomes of tags whose device answers with each exception. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { connectAsync } from 'mqtt';
import type { PlantProcess } from '../../src/simulator/plantprocess.js';
import type { BusSpec, UnitSpec } from '../../src/simulator/spec.js';
import { Certificates } from '../support/certificates.js';
import { Daemon } from '../support/daemon.js';
import { pathOf, socketOf, startPlantProcess } from '../support/plant.js';
import { until } from '../support/wait.js';

const certificates = new Certificates();
before(() => {
  certificates.authority('plant');
  certificates.certificate('device', 'plant', 'IP:127.0.0.1');
  certificates.certificate('gateway', 'plant', 'DNS:gateway.example');
});
after(() => certificates.remove());

interface Sample {
  readonly v: unknown;
  readonly q: string;
  readonly e?: string;
}

/** A gateway with these buses and devices, and the newest that it told of each topic, below its name. */
async function gatewayOf(
  t: TestContext,
  buses: string,
  devices: string,
): Promise<{ newest: Map<string, unknown>; order: (topic: string, payload: string) => void }> {
  const daemon = new Daemon(
    `version: 1\ngateway: { id: gw }\n` +
      `broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }\n` +
      `defaults: { rate: 200ms }\nbuses:\n${buses}devices:\n${devices}`,
  );
  t.after(() => daemon.remove());
  await daemon.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  t.after(() => client.endAsync(true));
  const newest = new Map<string, unknown>();
  client.on('message', (topic, payload) =>
    newest.set(topic.replace('holdfast/gw/', ''), JSON.parse(payload.toString())),
  );
  await client.subscribeAsync(['data', 'device', 'ack'].map((kind) => `holdfast/gw/${kind}/#`));
  return { newest, order: (topic, payload) => void client.publish(`holdfast/gw/set/${topic}`, payload) };
}

const UNIT: UnitSpec = {
  unitId: 1,
  turnaroundMs: 1,
  values: [{ table: 'holding-register', address: 0, quantity: 1, script: 'fixed', hex: '04d2' }],
};

const LINE = { baud: 115_200 };

function links(): BusSpec[] {
  const [cert, key, clientCa] = ['device.crt', 'device.key', 'plant.crt'].map((name) =>
    certificates.text(name),
  );
  assert.ok(cert !== undefined && key !== undefined && clientCa !== undefined);
  const units = [UNIT];
  return [
    { name: 'tcp', link: { kind: 'tcp' }, units },
    { name: 'tls', link: { kind: 'tls', tls: { cert, key, clientCa } }, units },
    { name: 'udp', link: { kind: 'udp' }, units },
    { name: 'rtu-over-tcp', link: { kind: 'rtu-over-tcp', line: LINE }, units },
    { name: 'ascii-over-tcp', link: { kind: 'ascii-over-tcp', line: LINE }, units },
    { name: 'rtu', link: { kind: 'rtu', line: LINE }, units },
    { name: 'ascii', link: { kind: 'ascii', line: LINE }, units },
    { name: 'echo', link: { kind: 'rtu', line: { ...LINE, hasEcho: true } }, units },
  ];
}

/** A bus of the gateway file for a bus of the plant. */
async function busLine(plant: PlantProcess, { name, link }: BusSpec): Promise<string> {
  if (link.kind === 'rtu' || link.kind === 'ascii') {
    const echo = name === 'echo' ? ', echo: true' : '';
    const path = await pathOf(plant, name);
    return `  ${name}: { protocol: ${link.kind}, path: ${path}, baud: ${LINE.baud}, format: 8N1${echo} }\n`;
  }
  const { host, port } = await socketOf(plant, name);
  const file = (wanted: string): string => JSON.stringify(certificates.file(wanted));
  const tls = `, tls: { ca: ${file('plant.crt')}, cert: ${file('gateway.crt')}, key: ${file('gateway.key')} }`;
  return `  ${name}: { protocol: ${link.kind}, host: ${host}, port: ${port}${link.kind === 'tls' ? tls : ''} }\n`;
}

test('on every kind of link a value comes out and a command goes in', async (t) => {
  const buses = links();
  const plant = await startPlantProcess(t, { buses });
  const lines = await Promise.all(buses.map((bus) => busLine(plant, bus)));
  const devices = buses.map(
    ({ name }) =>
      `  on-${name}: { bus: ${name}, unit_id: 1, tags: { level: { holding: 0 }, wanted: { holding: 1, write: true } } }\n`,
  );
  const { newest, order } = await gatewayOf(t, lines.join(''), devices.join(''));
  for (const { name } of buses) {
    const level = (): Sample | undefined => newest.get(`data/on-${name}/level`) as Sample | undefined; // as told
    await until(`the value over ${name}`, () => level()?.v === 1234 && level()?.q === 'good');
    order(`on-${name}/wanted`, '4321');
    const ack = await until(`the answer over ${name}`, () => newest.get(`ack/on-${name}/wanted`));
    assert.equal((ack as { ok: boolean }).ok, true, JSON.stringify(ack));
    assert.equal(await plant.peek(name, 1, 'holding-register', 1, 1), '10e1');
  }
});

/** What a device that was well says with this exception, told as quality, error and state of the device. */
const TOLD: Readonly<Record<number, readonly [quality: string, error: string | undefined, state: string]>> = {
  1: ['bad', 'exception', 'degraded'],
  2: ['bad', 'exception', 'degraded'],
  3: ['bad', 'exception', 'degraded'],
  4: ['bad', 'exception', 'degraded'],
  // Busy: it is asked again, and its value grows old meanwhile.
  5: ['stale', 'timeout', 'online'],
  6: ['stale', 'timeout', 'online'],
  7: ['bad', 'exception', 'degraded'],
  8: ['bad', 'exception', 'degraded'],
  // A gateway speaks of the device behind it.
  10: ['bad', 'offline', 'offline'],
  11: ['bad', 'offline', 'offline'],
};

test('each exception is told as what it means, leaves other units alone, and is over when it is over', async (t) => {
  const codes = Object.keys(TOLD).map(Number);
  const units = [...codes, 20].map((unitId) => ({ ...UNIT, unitId }));
  const plant = await startPlantProcess(t, { buses: [{ name: 'plc', link: { kind: 'tcp' }, units }] });
  const { host, port } = await socketOf(plant, 'plc');
  const { newest } = await gatewayOf(
    t,
    `  plc: { protocol: tcp, host: ${host}, port: ${port} }\n`,
    units
      .map(
        ({ unitId }) => `  u${unitId}: { bus: plc, unit_id: ${unitId}, tags: { level: { holding: 0 } } }\n`,
      )
      .join(''),
  );
  const told = (unitId: number): unknown[] => {
    const sample = newest.get(`data/u${unitId}/level`) as Sample | undefined; // as told
    const device = newest.get(`device/u${unitId}`) as { state: string } | undefined; // as told
    return [sample?.q, sample?.e, device?.state];
  };
  const areTold = async (what: string, wanted: (unitId: number) => readonly unknown[]): Promise<void> => {
    for (const { unitId } of units)
      await until(
        `${what}: unit ${unitId} to be ${JSON.stringify(wanted(unitId))}`,
        () => JSON.stringify(told(unitId)) === JSON.stringify(wanted(unitId)),
      );
  };
  const well = ['good', undefined, 'online'];
  await areTold('before', () => well);
  for (const code of codes) await plant.setFaults('plc', code, [{ name: 'exception', code }]);
  await areTold('meanwhile', (unitId) => TOLD[unitId] ?? well);
  await plant.clearFaults();
  await areTold('afterwards', () => well);
});
