import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plantOfText } from '../../src/config/loadplant.js';
import { scanOptionsOf } from '../../src/gateway/scanoptions.js';

const { plant } = plantOfText(
  'scan.yaml',
  `version: 1
broker: { anonymous: true }
buses: { line1: { protocol: rtu, path: /dev/ttyS1, baud: 9600, format: 8N1 } }
devices: { d: { bus: line1, unit_id: 1, tags: { t: { holding: 1 } } } }`,
  {},
);
const [line] = plant?.buses ?? [];
assert.ok(line !== undefined);

test('rates and formats are tried each with each, once', () => {
  const { settings, units } = scanOptionsOf(line, { units: '1-3,2,7', baud: '9600,19200,9600', format: '8n1,8E1,8N1' }); // prettier-ignore
  assert.deepEqual(units, [1, 2, 3, 7]);
  assert.deepEqual(
    settings.map(({ baud, format }) => `${baud} ${format}`),
    ['9600 8N1', '9600 8E1', '19200 8N1', '19200 8E1'],
  );
});

test('a text that names the same again and again costs what it names, and one that names too much is refused', () => {
  const [many, most] = [20_000, 65];
  const { settings } = scanOptionsOf(line, { baud: '9600,'.repeat(many) + '9600', format: '8N1,'.repeat(many) + '8N1' }); // prettier-ignore
  assert.deepEqual(settings, [{ baud: 9600, format: '8N1' }]);
  const rates = Array.from({ length: most }, (_none, index) => 1200 + index).join(',');
  assert.throws(() => scanOptionsOf(line, { baud: rates }), /more than 64 rates/);
  const startedMs = process.cpuUsage().user / 1000;
  assert.throws(() => scanOptionsOf(line, { units: '0-65535,'.repeat(many) + '1' }), /are not numbers/);
  assert.ok(
    process.cpuUsage().user / 1000 - startedMs < 1000,
    'thousand millions of numbers are not counted',
  );
});
