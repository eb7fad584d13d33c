import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { loadPlant } from '../../src/config/loadplant.js';
import { importBridges } from '../../src/config/mosquittobridge.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-import-'));
after(() => rmSync(folder, { recursive: true }));

const CONF = `listener 1883
allow_anonymous true
# to the cloud
connection cloud.one
addresses a.example:8883 b.example
topic data/# out 1 plant/ p7/
topic cmd/# in 2 "" p7/
topic shared/# both
remote_clientid p7
remote_username u
remote_password secret
bridge_cafile ca.pem
bridge_protocol_version mqttv50
keepalive_interval 20
cleansession false
bridge_psk x
connection plain
address 10.0.0.1
topic # out 0
topic x sideways
`;

test('bridges become uplinks, and what has no counterpart is told with its line', () => {
  const { bridges, notes } = importBridges(CONF);
  assert.deepEqual(bridges, [
    {
      name: 'cloud_one',
      uplink: {
        nodes: ['mqtts://a.example:8883', 'mqtts://b.example:8883'],
        version: '5',
        client_id: 'p7',
        user: 'u',
        password: '${BRIDGE_PASSWORD}',
        keep_alive: '20s',
        tls: { ca: 'ca.pem' },
        out: [
          { from: 'plant/data/#', to: 'p7/data/#', qos: 1 },
          { from: 'shared/#', qos: 0 },
        ],
        in: [
          { from: 'p7/cmd/#', to: 'cmd/#', qos: 2 },
          { from: 'shared/#', qos: 0 },
        ],
      },
    },
    {
      name: 'plain',
      uplink: { nodes: ['mqtt://10.0.0.1:1883'], version: '3.1.1', out: [{ from: '#', qos: 0 }] },
    },
  ]);
  assert.deepEqual(
    notes.map((note) => note.split(':')[1]),
    ['11', '16', '20'],
  );
  assert.ok(!JSON.stringify({ bridges, notes }).includes('secret'));
});

test('what is imported is a gateway file that loads', async () => {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(join(folder, 'ca.pem'), '');
  const uplinks = Object.fromEntries(importBridges(CONF).bridges.map(({ name, uplink }) => [name, uplink]));
  // JSON is YAML.
  writeFileSync(file, JSON.stringify({ version: 1, broker: { anonymous: true }, uplinks }));
  const { plant, problems } = await loadPlant(file, { BRIDGE_PASSWORD: 'x' });
  assert.deepEqual(problems, []);
  assert.equal(plant?.uplinks.length, 2);
});

test('no text makes it throw', () => {
  const word = fc.constantFrom(
    'connection',
    'address',
    'topic',
    'both',
    'bridge_cafile',
    '""',
    '#',
    ' ',
    '\n',
    'a:b:c',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(word, fc.string())), (words) => void importBridges(words.join(' '))),
    { numRuns: 300 },
  );
});
