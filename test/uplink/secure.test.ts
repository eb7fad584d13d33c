/** TLS and WebSocket to the far side: who is believed and who is not, and what is said about it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { Authority, type Issued } from '../../src/cli/authority.js';
import { Daemon } from '../support/daemon.js';
import { FarSide } from '../support/farside.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-secure-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, name);

function keep(name: string, { cert, key }: Issued): void {
  writeFileSync(file(`${name}.crt`), cert);
  writeFileSync(file(`${name}.key`), key);
}

let plant: Authority;
before(async () => {
  const own = await Authority.create(2);
  const stranger = await Authority.create(2);
  plant = own.authority;
  keep('plant', own.issued);
  keep('good', await plant.server(['127.0.0.1'], 2));
  keep('expired', await plant.server(['127.0.0.1'], -0.5));
  keep('elsewhere', await plant.server(['broker.example'], 2));
  keep('gateway', await plant.client('gateway', 2));
  keep('intruder', await stranger.authority.client('gateway', 2));
});

interface Listener {
  /** Scheme of the uplink's node. */
  readonly scheme: string;
  /** Lines of mosquitto.conf below `listener`. */
  readonly lines: readonly string[];
  /** Of the uplink. */
  readonly tls?: string;
  /** What the log says of it; null: it is connected. */
  readonly says: RegExp | null;
}

const server = (name: string): string[] => [
  `certfile ${file(`${name}.crt`)}`,
  `keyfile ${file(`${name}.key`)}`,
];
const withClients = [`cafile ${file('plant.crt')}`, 'require_certificate true'];
const trust = `ca: ${file('plant.crt')}`;
const own = (name: string): string => `${trust}, cert: ${file(`${name}.crt`)}, key: ${file(`${name}.key`)}`;

const LISTENERS: Readonly<Record<string, Listener>> = {
  believed: { scheme: 'mqtts', lines: server('good'), tls: trust, says: null },
  known: { scheme: 'mqtts', lines: [...server('good'), ...withClients], tls: own('gateway'), says: null },
  websocket: { scheme: 'ws', lines: ['protocol websockets'], says: null },
  secure: { scheme: 'wss', lines: ['protocol websockets', ...server('good')], tls: trust, says: null },
  stranger: { scheme: 'mqtts', lines: server('good'), says: /no authority .* tls\.ca/ },
  expired: { scheme: 'mqtts', lines: server('expired'), tls: trust, says: /expired.*renewed/ },
  elsewhere: { scheme: 'mqtts', lines: server('elsewhere'), tls: trust, says: /tls\.server_name/ },
  nobody: {
    scheme: 'mqtts',
    lines: [...server('good'), ...withClients],
    tls: trust,
    says: /tls\.cert and tls\.key/,
  },
  intruder: {
    scheme: 'mqtts',
    lines: [...server('good'), ...withClients],
    tls: own('intruder'),
    says: /does not take our client certificate/,
  },
  clear: { scheme: 'mqtts', lines: [], tls: trust, says: /nothing speaks TLS|fits the port/ },
};

test('a far side that is not to be trusted is told by the name of its uplink, with what to do; the others go on', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const listeners = Object.entries(LISTENERS);
  const ports = new Map<string, number>();
  for (const [name] of listeners) ports.set(name, await freePort());
  const far = await FarSide.create(
    cleanups,
    listeners.flatMap(([name, { lines }]) => [`listener ${ports.get(name)} 127.0.0.1`, ...lines]),
  );
  await far.start();
  const heard = new Set<string>();
  const client = await far.client();
  client.on('message', (topic) => heard.add(topic));
  await client.subscribeAsync('#', { qos: 1 });

  const uplinks = listeners.map(([name, { scheme, tls }]) =>
    [
      `  ${name}:`,
      `    nodes: ["${scheme}://127.0.0.1:${ports.get(name)}"]`,
      '    announce: []',
      `    out: [{ from: "a/#", to: "${name}/#" }]`,
      ...(tls === undefined ? [] : [`    tls: { ${tls} }`]),
    ].join('\n'),
  );
  const daemon = new Daemon(`${HOME}uplinks:\n${uplinks.join('\n')}\n`);
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const home = await connectTo(daemon);
  cleanups.push(() => home.endAsync(true));
  await home.publishAsync('a/b', 'x', { qos: 1 });

  for (const [name, { says }] of listeners) {
    if (says === null) {
      await until(`a message by ${name}`, () => heard.has(`${name}/b`));
      continue;
    }
    const told = await until(`an error of ${name}`, () =>
      daemon
        .logged('uplink not connected; messages are kept in its queue')
        .find(({ uplink }) => uplink === name),
    );
    assert.match(String(told['error']), says, name);
    assert.ok(!heard.has(`${name}/b`), name);
  }
});

test('a certificate that is renewed over there is believed at the next attempt, and nothing was lost', async (t) => {
  const cleanups: (() => unknown)[] = [];
  t.after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  keep('renewed', await plant.server(['127.0.0.1'], -0.5));
  const port = await freePort();
  const far = await FarSide.create(cleanups, [`listener ${port} 127.0.0.1`, ...server('renewed')]);
  await far.start();
  const daemon = new Daemon(`${HOME}uplinks:
  cloud:
    nodes: ["mqtts://127.0.0.1:${port}"]
    announce: []
    tls: { ${trust} }
    out: [{ from: "a/#" }]
`);
  cleanups.push(() => daemon.remove());
  await daemon.start();
  const home = await connectTo(daemon);
  cleanups.push(() => home.endAsync(true));
  await until('the error', () => daemon.logged(/uplink not connected/).length > 0);
  for (let i = 0; i < 20; i++) await home.publishAsync(`a/${i}`, String(i), { qos: 1, retain: true });
  await far.stop();
  keep('renewed', await plant.server(['127.0.0.1'], 2));
  await far.start();
  const got = new Set<string>();
  const client = await far.client();
  client.on('message', (_topic, payload) => got.add(payload.toString()));
  await client.subscribeAsync('#', { qos: 1 });
  await until('what waited', () => got.size === 20, 60_000);
});

const connectTo = (daemon: Daemon): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { reconnectPeriod: 0 });

const HOME = `version: 1
gateway: { id: p7 }
broker: { anonymous: true, store: memory, listeners: [{ port: 0 }] }
`;
