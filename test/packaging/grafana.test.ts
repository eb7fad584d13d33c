import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';
import { Daemon } from '../support/daemon.js';

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

// Nobody listens at these addresses; a bus and an uplink are there to be counted all the same.
const CONFIG = `version: 1
broker: { listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }], anonymous: true, store: { path: data } }
web: { host: 127.0.0.1, port: 0 }
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: 1 } }
devices: { press: { bus: plc, unit_id: 1, tags: { level: { holding: 0 } } } }
uplinks: { cloud: { nodes: ["mqtt://127.0.0.1:1"], out: [{ from: "holdfast/#" }] } }
`;

test('every metric that the dashboard shows is one that a gateway tells', async () => {
  // Our own file.
  const { panels } = JSON.parse(readFileSync(join(packageFolder(), 'packaging/grafana.json'), 'utf8')) as {
    panels: Panel[];
  };
  const daemon = new Daemon(CONFIG);
  try {
    await daemon.start();
    const answer = await fetch(`http://127.0.0.1:${daemon.port('http')}/metrics`);
    const told = new Set((await answer.text()).match(/^holdfast_\w+/gm));
    for (const { title, targets } of panels) {
      const shown = targets.flatMap(({ expr }) => expr.match(/holdfast_\w+/g) ?? []);
      assert.ok(shown.length > 0, title);
      for (const metric of shown) assert.ok(told.has(metric), `${title} shows ${metric}, which nobody tells`);
    }
  } finally {
    await daemon.remove();
  }
});
