/** Short forms of the gateway file, seen from outside: repeat, lists of units, groups in groups. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { startTcp } from '../support/plant.js';
import { until } from '../support/wait.js';

/** Register n of unit u holds 100 u + n. */
function unit(unitId: number): { unitId: number; values: readonly { table: 'holding-register'; address: number; quantity: number; script: 'fixed'; hex: string }[] } {
  const words = Array.from({ length: 12 }, (_, n) => (100 * unitId + n).toString(16).padStart(4, '0'));
  return { unitId, values: [{ table: 'holding-register', address: 0, quantity: 12, script: 'fixed', hex: words.join('') }] };
} // prettier-ignore

test('repeat, a list of units and groups in groups become topics with the right registers behind them', async (t) => {
  const { plant, port } = await startTcp(t, [unit(1), unit(2), unit(4)]);
  const daemon = new Daemon(`
version: 1
gateway: { id: gw }
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: memory }
defaults: { rate: 200ms, report: always }
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: ${port} } }
devices:
  "meter-{unit_id}":
    bus: plc
    unit_id: "1-2,4"
    repeat: [{ for: { n: 1-3 }, tags: { "current_l{n}": { holding: "2*(n-1)" } } }]
    groups:
      motor:
        tags: { speed: { holding: 6 } }
        groups:
          brake: { consistent: true, tags: { on: { holding: 7, write: true }, force: { holding: 8, write: true } } }
`);
  t.after(() => daemon.remove());
  await daemon.start();
  const client = await connectAsync(`mqtt://127.0.0.1:${daemon.port()}`);
  t.after(() => client.endAsync(true));
  const latest = new Map<string, string>();
  client.on('message', (topic, payload) => latest.set(topic.replace('holdfast/gw/', ''), payload.toString()));
  await client.subscribeAsync('holdfast/gw/#', { qos: 1 });
  const value = async (topic: string): Promise<unknown> =>
    (JSON.parse(await until(topic, () => latest.get(topic) ?? null)) as { v: unknown }).v;
  for (const unitId of [1, 2, 4]) {
    const device = `meter-${unitId}`;
    for (const n of [1, 2, 3])
      assert.equal(await value(`data/${device}/current_l${n}`), 100 * unitId + 2 * (n - 1));
    assert.equal(await value(`data/${device}/motor/speed`), 100 * unitId + 6);
    const batch = { 'motor/brake/on': 100 * unitId + 7, 'motor/brake/force': 100 * unitId + 8 };
    assert.deepEqual(await value(`batch/${device}/motor/brake`), batch);
  }
  assert.equal(latest.has('data/meter-3/motor/speed'), false);

  await client.publishAsync('holdfast/gw/set/meter-2/motor/brake', '{"v":{"on":1,"force":9},"id":"r"}', { qos: 1 });
  const ack = await until('the answer', () => latest.get('ack/meter-2/motor/brake') ?? null);
  assert.equal((JSON.parse(ack) as { ok: boolean }).ok, true, ack);
  const writes = (await plant.exchanges('plc')).filter(({ functionCode }) => functionCode !== 3);
  assert.deepEqual(writes.map(({ functionCode, unitId }) => [functionCode, unitId]), [[16, 2]]);
}); // prettier-ignore
