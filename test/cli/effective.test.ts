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

test('a password in an address is refused, and told nowhere', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-effective-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'gateway.yaml');
  const addresses = [
    'mqtts://plant:open-s@same@cloud:8883',
    'mqtts://open-s@same@cloud',
    'mqtts//plant:open-s@same@x',
  ];
  for (const address of addresses) {
    writeFileSync(file, `version: 1\nuplinks: { cloud: { nodes: ["${address}"], out: [{ from: "#" }] } }\n`);
    const { code, stdout, stderr } = await holdfast(['check', '--config', file]);
    assert.equal(code, 3);
    assert.match(stdout + stderr, /HF1510.*user: and password: beside nodes/);
    assert.ok(!`${stdout}${stderr}`.includes('open-s'), stdout + stderr);
  }
  const verb = await holdfast(['pub', '--url', 'mqtt://plant:open-s@same@127.0.0.1:1', 'a', 'b']);
  assert.notEqual(verb.code, 0);
  assert.ok(!verb.stderr.includes('same'), verb.stderr);
});
