import assert from 'node:assert/strict';
import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { canonicalOf, StoreModel } from '../support/storemodel.js';
import { storeIn, temporaryFolder } from '../support/stores.js';
import { sampleRecords } from './sample.js';

const SAMPLES = fileURLToPath(new URL('../../../test/store/samples/', import.meta.url));

for (const name of readdirSync(SAMPLES)) {
  test(`a store of ${name} opens as it was left`, async (context) => {
    const folder = join(temporaryFolder(context), 'store');
    cpSync(join(SAMPLES, name), folder, { recursive: true });
    assert.ok(readdirSync(folder).some((file) => file.startsWith('snapshot-')));
    const model = new StoreModel();
    const { inSnapshot, inLog } = sampleRecords();
    for (const record of [...inSnapshot, ...inLog]) model.apply(record);
    const store = storeIn(folder);
    const found = await canonicalOf(store, await store.open());
    assert.equal(found, model.canonical());
    await store.close();
  });
}
