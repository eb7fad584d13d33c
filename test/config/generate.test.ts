/** What editors are given: the JSON Schema files accept what the loader accepts. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromJSONSchema } from 'zod';
import { readSource } from '../../src/config/load.js';
import { packageFolder } from '../../src/entry.js';

const root = packageFolder();

function accepts(schemaFile: string, file: string): boolean {
  const schema: unknown = JSON.parse(readFileSync(join(root, schemaFile), 'utf8'));
  const { value } = readSource(join(root, file), {});
  return fromJSONSchema(schema as Parameters<typeof fromJSONSchema>[0]).safeParse(value).success; // its own output
}

test('the schema of gateway files accepts the examples and the public contract', () => {
  const files = [
    'config/demo.yaml',
    'config/example.yaml',
    'config/examples/iot-platform.yaml',
    'config/examples/plc-structures.yaml',
    'config/examples/secured-broker.yaml',
    'test/config/cases/contract/config.yaml',
  ];
  for (const file of files) assert.equal(accepts('config/gateway.schema.json', file), true, file);
});

test('the schema of device maps accepts every map that is shipped', () => {
  const maps = readdirSync(join(root, 'devices')).filter((file) => file.endsWith('.yaml'));
  for (const file of maps)
    assert.equal(accepts('devices/device-map.schema.json', `devices/${file}`), true, file);
});

test('the schemas refuse what has mistakes', () => {
  for (const name of ['mistakes', 'values', 'alien', 'broker']) {
    assert.equal(accepts('config/gateway.schema.json', `test/config/cases/${name}/config.yaml`), false, name);
  }
});
