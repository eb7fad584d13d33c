import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLog } from '../../src/log.js';
import { Knowledge } from '../../src/poller/knowledge.js';
import { KnowledgeFolder } from '../../src/poller/knowledgefolder.js';
import { busOf, deviceOf } from '../support/tags.js';

const device = deviceOf(0, busOf(0), { name: 'press1' });
const NOW = 1_800_000_000_000;

function taught(): Knowledge {
  const knowledge = new Knowledge();
  knowledge.learnHole({ table: 'holding-register', address: 100, quantity: 20 }, NOW);
  knowledge.learnHole({ table: 'coil', address: 7, quantity: 1 }, NOW);
  knowledge.learnMaximum(false, 64, NOW);
  knowledge.refuse('serial', 'illegal data address', NOW);
  knowledge.maskWrite = false;
  return knowledge;
}

test('what a device taught is readable, in the words of device maps, and read again as it was', () => {
  const record = taught().toRecord(device, NOW);
  const json = JSON.stringify(record, null, 2);
  assert.match(json, /"holding:100-119"/);
  assert.match(json, /"coil:7"/);
  const again = Knowledge.fromRecord(JSON.parse(json), device, NOW);
  assert.deepEqual(again.holes.length, 2);
  assert.deepEqual([again.registersMax, again.bitsMax, again.maskWrite], [64, Infinity, false]);
  assert.deepEqual([...again.refusals.keys()], ['serial']);
});

test('that a link stands one request at a time is kept for good', () => {
  const knowledge = new Knowledge();
  knowledge.isOneAtATime = true;
  const record = knowledge.toRecord(device, NOW);
  assert.deepEqual(record.limits, { in_flight: 1 });
  const again = Knowledge.fromRecord(record, device, NOW);
  again.forgetOld(NOW + 1e12);
  assert.ok(again.isOneAtATime);
});

test('a record of another unit, bus or map says nothing about this device', () => {
  const record = taught().toRecord(device, NOW);
  for (const other of [
    deviceOf(0, busOf(0), { unitId: 9 }),
    deviceOf(0, busOf(3)),
    deviceOf(0, busOf(0), { map: 'sdm630' }),
  ]) {
    assert.equal(Knowledge.fromRecord(record, other, NOW).holes.length, 0);
  }
});

test('whatever a file holds, reading it never throws', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (a, b) => {
      Knowledge.fromRecord(a, device, NOW);
      Knowledge.fromRecord(
        { bus: 'bus0', unit_id: 1, map: null, limits: a, holes: b, refused: a },
        device,
        NOW,
      );
    }),
  );
});

test('a refused tag is asked again after 15 s, a minute, ten minutes, then hourly; holes and limits are forgotten', () => {
  const knowledge = taught();
  const waits = [0, 1, 2, 3, 4].map(() => knowledge.refuse('x', 'no', NOW).retestAtMs - NOW);
  assert.deepEqual(waits, [15_000, 60_000, 600_000, 3_600_000, 3_600_000]);
  assert.equal(knowledge.forgetOld(NOW + 3_599_000), false);
  assert.equal(knowledge.forgetOld(NOW + 3_600_000), true);
  assert.deepEqual([knowledge.holes.length, knowledge.registersMax], [0, Infinity]);
});

test('its version tells whatever changes where reads may go, and nothing else', () => {
  const knowledge = new Knowledge();
  const isTold = (change: () => unknown): boolean => {
    const before = knowledge.version;
    change();
    return knowledge.version !== before;
  };
  const later = NOW + 2 * 3_600_000;
  assert.ok(isTold(() => knowledge.learnHole({ table: 'coil', address: 7, quantity: 1 }, NOW)));
  assert.ok(isTold(() => knowledge.learnMaximum(true, 16, NOW)));
  assert.ok(isTold(() => knowledge.refuse('serial', 'illegal data address', NOW)));
  assert.ok(!isTold(() => knowledge.pardon('voltage')));
  assert.ok(isTold(() => knowledge.pardon('serial')));
  assert.ok(isTold(() => knowledge.refuseForNow('serial', 'illegal data address', NOW)));
  assert.ok(isTold(() => knowledge.pardonAll()));
  assert.ok(!isTold(() => knowledge.forgetOld(NOW)));
  assert.ok(isTold(() => knowledge.forgetOld(later)));
  assert.ok(!isTold(() => knowledge.forgetOld(later)));
});

test('the folder keeps one file a device, replaced as a whole; a broken one costs only itself', async (t) => {
  const path = await mkdtemp(join(tmpdir(), 'knowledge-'));
  t.after(() => rm(path, { recursive: true }));
  const folder = new KnowledgeFolder(path, silentLog);
  await folder.load([device]);
  folder.keep(0, taught().toRecord(device, NOW));
  await folder.flush();
  assert.deepEqual(await readdir(path), ['press1.json']);
  assert.match(await readFile(join(path, 'press1.json'), 'utf8'), /\n {2}"unit_id": 1,\n/);
  const again = new KnowledgeFolder(path, silentLog);
  await again.load([device]);
  assert.equal(Knowledge.fromRecord(again.of([device]).get(0), device, NOW).holes.length, 2);
  await writeFile(join(path, 'press1.json'), '{"half');
  const broken = new KnowledgeFolder(path, silentLog);
  await broken.load([device]);
  assert.equal(broken.of([device]).size, 0);
});
