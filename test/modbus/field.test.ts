/** The client on a simulated line and a simulated PLC with real timing and every fault: no value is ever another's. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { TestContext } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { serveSerial } from '../../src/modbus/serial.js';
import type { PlantProcess } from '../../src/simulator/plantprocess.js';
import type { AnswerFault, FaultSpec, UnitSpec } from '../../src/simulator/spec.js';
import { stampAgeMs } from '../../src/simulator/stamp.js';
import { socketOf, startLine, startPlantProcess } from '../support/plant.js';
import { Master } from '../support/rawslave.js';
import { until } from '../support/wait.js';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const UNITS: UnitSpec[] = [1, 2, 3].map((unitId) => ({
  unitId,
  turnaroundMs: 2,
  values: [{ table: 'holding-register', address: 0, quantity: 1000, script: 'stamp' }],
}));
const LINE = { kind: 'rtu', dataBits: 8, parity: 'none', stopBits: 1, echo: false } as const;
const TIMEOUT_MS = 60;
/** Long enough for a machine that is busy with other things: a request too soon would be our own fault. */
const PATIENT_MS = 2000;

async function masterOn(t: TestContext, baud: number): Promise<{ plant: PlantProcess; master: Master }> {
  const { plant, path } = await startLine(t, UNITS, { baud });
  const { port1, port2 } = new MessageChannel();
  closers.push(serveSerial(port1));
  const master = new Master({ ...LINE, path, baud }, { timeoutMs: TIMEOUT_MS }, () => port2);
  closers.push(() => master.client.close());
  return { plant, master: await master.up() };
}

/** Reads here and there until the time is over; fails on a value that is another register's, unit's or time's. */
async function readAbout(
  master: Master,
  forMs: number,
  timeoutMs = TIMEOUT_MS,
): Promise<{ right: number; failed: number }> {
  const endMs = performance.now() + forMs;
  let right = 0;
  let failed = 0;
  for (let count = 0; performance.now() < endMs; count += 1) {
    const unitId = 1 + (count % UNITS.length);
    const address = ((count * 7) % 40) * 20;
    const quantity = 5 + ((count * 13) % 36);
    const request = { kind: 'read', unitId, table: 'holding-register', address, quantity } as const;
    if (master.client.heldUntilMs(request) > performance.now()) continue;
    const values = await master.values(address, quantity, timeoutMs, unitId);
    if (typeof values === 'string') {
      failed += 1;
      continue;
    }
    right += 1;
    values.forEach((value, index) => {
      const ageMs = stampAgeMs(value, unitId, address + index, Date.now());
      assert.ok(
        ageMs >= 0 && ageMs <= 1000,
        `unit ${unitId}, register ${address + index}: ${value}, ${ageMs} ms`,
      );
    });
  }
  return { right, failed };
}

for (const baud of [115_200, 9600]) {
  test(`at ${baud} baud a saturated line sees its silence kept before every request`, async (t) => {
    const { plant, master } = await masterOn(t, baud);
    await readAbout(master, 300, PATIENT_MS);
    await plant.clear();
    const { right, failed } = await readAbout(master, 1500, PATIENT_MS);
    const { silenceViolations, collisions, badFrames, requests } = await plant.counts('line');
    assert.deepEqual(
      { silenceViolations, collisions, badFrames },
      { silenceViolations: 0, collisions: 0, badFrames: 0 },
    );
    assert.ok(requests >= 10 && right > failed, `${right} right, ${failed} failed`);
  });
}

const LINE_FAULTS: readonly AnswerFault[] = [
  'late',
  'silent',
  'bad-crc',
  'truncated',
  'over-long',
  'split',
  'garbage-prefix',
  'duplicate',
  'wrong-unit',
  'wrong-function',
  'wrong-count',
];

function faultsOf(names: readonly AnswerFault[], probability: number): FaultSpec[] {
  return names.map((name) => ({ name, probability, ...(name === 'late' ? { ms: TIMEOUT_MS + 40 } : {}) }));
}

test('on a line every fault costs answers, and none becomes a value', async (t) => {
  const { plant, master } = await masterOn(t, 115_200);
  for (const fault of LINE_FAULTS) {
    await plant.setFaults('line', null, faultsOf([fault], 0.5));
    const { right } = await readAbout(master, 500);
    if (right === 0)
      await until(`a value despite ${fault}`, async () => (await readAbout(master, 200)).right > 0);
  }
  await plant.setFaults('line', null, faultsOf(LINE_FAULTS, 0.06));
  await readAbout(master, 2500);
  await plant.clearFaults();
  for (const unitId of [1, 2, 3]) {
    const isBack = async () => typeof (await master.values(0, 7, TIMEOUT_MS, unitId)) !== 'string';
    await until(`unit ${unitId} to be right again`, isBack, 1500);
  }
});

const TCP_FAULTS: readonly AnswerFault[] = [
  ...LINE_FAULTS.filter((fault) => fault !== 'bad-crc'),
  'wrong-tid',
  'wrong-protocol-id',
  'cut',
  'rst',
  'close',
];

for (const inFlight of [1, 4]) {
  test(`on TCP with ${inFlight} under way every fault costs answers, and none becomes a value`, async (t) => {
    const buses = [{ name: 'plc', link: { kind: 'tcp' }, units: UNITS }] as const;
    const plant = await startPlantProcess(t, { seed: 5, buses });
    const { port } = await socketOf(plant, 'plc');
    const master = Master.tcp(port, { timeoutMs: TIMEOUT_MS, inFlight });
    closers.push(() => master.client.close());
    await master.up();
    const read = async (forMs: number): Promise<number> => {
      const all = await Promise.all(
        Array.from({ length: inFlight }, async () => {
          let right = 0;
          const endMs = performance.now() + forMs;
          while (performance.now() < endMs) {
            if (master.client.isUp) right += (await readAbout(master, 20)).right;
            else await new Promise((resolve) => setTimeout(resolve, 5));
          }
          return right;
        }),
      );
      return all.reduce((sum, right) => sum + right, 0);
    };
    // TCP has no checksum: of several answers under way that each lose their end, pieces may make up one that looks whole.
    const isCut = (fault: AnswerFault): boolean =>
      inFlight > 1 && (fault === 'truncated' || fault === 'over-long');
    const faults = TCP_FAULTS.filter((fault) => !isCut(fault));
    for (const fault of faults) {
      await plant.setFaults('plc', null, faultsOf([fault], 0.5));
      const right = await read(250);
      if (right === 0) await until(`a value despite ${fault}`, async () => (await read(200)) > 0);
    }
    await plant.setFaults('plc', null, faultsOf(faults, 0.04));
    await read(1500);
    await plant.clearFaults();
    const isBack = async () => typeof (await master.values(0, 7, TIMEOUT_MS, 1)) !== 'string';
    await until('it to be right again', isBack, 1500);
  });
}
