import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { holdfast } from '../support/holdfast.js';

test('the effective config shows no secret, and every default', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-effective-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `version: 1
uplinks:
  cloud: { nodes: ["mqtts://cloud.example.com:8883"], user: plant, password: "\${PLANT_PASSWORD}", out: [{ from: "holdfast/#" }] }
`,
  );
  const { code, stdout, stderr } = await holdfast(['run', '--config', file, '--print-config'], {
    env: { PLANT_PASSWORD: 'open-sesame' },
  });
  assert.equal(code, 0, stderr);
  assert.ok(!stdout.includes('open-sesame'));
  assert.match(stdout, /"password": "\*+"/);
  assert.match(stdout, /"maxConnections": 10000/);
});
