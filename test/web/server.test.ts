import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { WebServer, type WebOptions } from '../../src/web/server.js';
import { Certificates } from '../support/certificates.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-web-'));
writeFileSync(join(folder, 'index.html'), '<!doctype html><title>holdfast</title>');
writeFileSync(join(folder, 'app-1A2B3C4D.js'), 'export {};');
after(() => rmSync(folder, { recursive: true }));

let problem: string | null = null;
let isSetUp = false;
const made: string[] = [];
let upgrades = 0;
const metrics = new Metrics();
const options: WebOptions = {
  host: '127.0.0.1',
  port: 0,
  tls: null,
  connectionsMax: 100,
  hostNames: ['plant7.example'],
  pageFolder: folder,
  metrics,
  log: silentLog,
  notReady: () => problem,
  about: () => ({ gateway: 'plant-7' }),
  setup: {
    get isNeeded() {
      return !isSetUp;
    },
    make: ({ code, user, password }) => {
      made.push(`${code} ${user} ${password}`);
      return Promise.resolve(code === 'right' ? null : 'the code is not right');
    },
  },
  upgrade: (_request, socket) => {
    upgrades += 1;
    socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
  },
};
const server = new WebServer(options);
const base = new URL(await server.listen());
after(() => server.close());

interface Got {
  status: number;
  headers: Record<string, unknown>;
  text: string;
}

function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> {
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, base), { headers, method }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    asked.on('error', reject).end();
  });
}

function upgrade(path: string, headers: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(base.port), '127.0.0.1');
    let text = '';
    socket
      .on('data', (chunk) => (text += chunk.toString()))
      .on('close', () => resolve(text.split('\r\n', 1)[0] ?? ''));
    socket.on('error', reject);
    socket.write(`GET ${path} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n${headers}\r\n\r\n`);
  });
}

test('health is answered while the process lives, readiness says what is missing', async () => {
  assert.equal((await get('/healthz')).status, 200);
  assert.equal((await get('/readyz')).status, 200);
  problem = 'bus line1 has no poller';
  const { status, text } = await get('/readyz');
  problem = null;
  assert.deepEqual([status, text], [503, 'bus line1 has no poller\n']);
});

test('metrics are Prometheus text with labels', async () => {
  metrics.counter('store_syncs_total', 'Syncs of the store').value = 3;
  metrics.gauge('bus_utilisation', 'Share of line time in use', () => 0.5, { bus: 'line1' });
  const { text } = await get('/metrics');
  assert.match(text, /^holdfast_store_syncs_total 3$/m);
  assert.match(text, /^holdfast_bus_utilisation\{bus="line1"\} 0.5$/m);
});

test('requests one upon another, without waiting for answers, end the connection instead of holding up all others', async () => {
  let reads = 0;
  metrics.gauge('reads', 'How often somebody looked', () => ++reads);
  const socket = connect(Number(base.port), '127.0.0.1');
  const closed = once(socket.resume(), 'close');
  socket.on('error', () => {});
  socket.write(`GET /metrics HTTP/1.1\r\nhost: ${base.host}\r\n\r\n`.repeat(500));
  await closed;
  assert.ok(reads <= 1, `the metrics were written ${reads} times`);
  metrics.remove('reads');
});

test('metrics are written once for all who ask for them in the same turn', async () => {
  let reads = 0;
  metrics.gauge('reads', 'How often somebody looked', () => ++reads);
  const ask = async (socket: Socket, path: string): Promise<string> => {
    socket.write(`GET ${path} HTTP/1.1\r\nhost: ${base.host}\r\n\r\n`);
    return String((await once(socket, 'data'))[0]);
  };
  // Those whom the server has accepted already are read from in one turn.
  const sockets = Array.from({ length: 20 }, () => connect(Number(base.port), '127.0.0.1'));
  await Promise.all(sockets.map((socket) => ask(socket, '/healthz')));
  const answers = sockets.map((socket) => ask(socket, '/metrics'));
  for (const answer of await Promise.all(answers)) assert.match(answer, /^HTTP\/1.1 200 /);
  assert.ok(reads < 20, `the metrics were written ${reads} times`);
  for (const socket of sockets) socket.destroy();
  metrics.remove('reads');
});

test('the page is served with a strict content security policy, hashed files for ever', async () => {
  const page = await get('/');
  assert.match(page.text, /<title>holdfast/);
  assert.match(String(page.headers['content-security-policy']), /default-src 'self'/);
  assert.equal(page.headers['cache-control'], 'no-cache');
  assert.match(String((await get('/app-1A2B3C4D.js')).headers['cache-control']), /immutable/);
});

test('the page learns which gateway it is on', async () => {
  const about = async (): Promise<unknown> => JSON.parse((await get('/about.json')).text) as unknown;
  assert.deepEqual(await about(), { gateway: 'plant-7', needsSetup: true });
  isSetUp = true;
  assert.deepEqual(await about(), { gateway: 'plant-7' });
  isSetUp = false;
});

test('the first user is made by JSON from the page itself, and by nobody once there is one', async () => {
  const post = (body: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(new URL('/setup', base), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body,
    });
  const first = JSON.stringify({ code: 'right', user: 'ops', password: 'correct horse' });
  assert.equal((await post(first, { origin: 'http://evil.example' })).status, 403);
  assert.equal((await post(first, { 'content-type': 'text/plain' })).status, 403);
  assert.equal((await get('/setup')).status, 405);
  assert.equal((await post('{"code":1')).status, 400);
  assert.equal((await post(JSON.stringify({ code: 'x'.repeat(9000) }))).status, 400);
  assert.deepEqual(made, []);
  const wrong = await post('{"code":["right"],"__proto__":{"user":"ops"}}');
  assert.deepEqual([wrong.status, await wrong.text()], [403, 'the code is not right\n']);
  assert.equal((await post(first)).status, 200);
  assert.deepEqual(made, ['  ', 'right ops correct horse']);
  isSetUp = true;
  assert.equal((await post(first)).status, 404);
  isSetUp = false;
});

test('one address takes no more than half of the connections, and gives them back', async (t) => {
  const dial = (): Socket => {
    const socket = connect({ port: Number(base.port), host: '127.0.0.1', localAddress: '127.0.0.2' });
    socket.on('error', () => {});
    t.after(() => socket.destroy());
    return socket;
  };
  const mob = Array.from({ length: 100 }, dial);
  await until('half of them to be turned away', () => mob.filter(({ closed }) => closed).length === 50);
  assert.equal((await get('/healthz')).status, 200);
  for (const socket of mob) socket.destroy();
  await until('a place', async () => {
    const late = dial();
    late.write('GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n');
    const [answer] = (await Promise.race([once(late, 'data'), once(late, 'close')])) as unknown[];
    return Buffer.isBuffer(answer);
  });
});

test('nothing but GET and HEAD, nothing outside the folder', async () => {
  assert.equal((await get('/', {}, 'POST')).status, 405);
  assert.equal((await get('/%2e%2e/%2e%2e/etc/passwd')).status, 404);
  assert.equal((await get('/nothing-here')).status, 404);
});

test('a foreign host name is refused, ours and the configured one are not', async () => {
  assert.equal((await get('/', { host: 'evil.example' })).status, 421);
  assert.equal((await get('/', { host: 'plant7.example:8080' })).status, 200);
  assert.equal((await get('/', { host: `localhost:${base.port}` })).status, 200);
});

test('a WebSocket upgrade needs the path and, from a browser, the same origin', async () => {
  const host = `host: ${base.host}`;
  assert.match(await upgrade('/mqtt', host), /101/);
  assert.match(await upgrade('/mqtt', `${host}\r\norigin: http://${base.host}`), /101/);
  assert.match(await upgrade('/mqtt', `${host}\r\norigin: http://evil.example`), /403/);
  assert.match(await upgrade('/other', host), /403/);
  assert.equal(upgrades, 2);
});

test('a port that is taken is told to whoever listens, with the address, and not in the log beside', async () => {
  const logged: string[] = [];
  const log = { ...silentLog, error: (text: string) => logged.push(text) };
  const second = new WebServer({ ...options, port: Number(base.port), log });
  await assert.rejects(second.listen(), new RegExp(`web 127.0.0.1:${base.port}.*cannot listen.*EADDRINUSE`));
  assert.deepEqual(logged, []);
});

test('a renewed certificate is taken over, and one that is torn leaves the old one', async (t) => {
  const certificates = new Certificates();
  t.after(() => certificates.remove());
  certificates.authority('plant');
  certificates.certificate('page', 'plant', 'IP:127.0.0.1');
  const tls = { cert: certificates.file('page.crt'), key: certificates.file('page.key') };
  const secure = new WebServer({ ...options, tls });
  const { port } = new URL(await secure.listen());
  t.after(() => secure.close());
  const serial = async (): Promise<string> => {
    const ca = certificates.text('plant.crt');
    const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };
  const before = await serial();
  certificates.certificate('page', 'plant', 'IP:127.0.0.1');
  secure.certificateRenewal()();
  const renewed = await serial();
  assert.notEqual(renewed, before);
  const eager = connectTls({
    host: '127.0.0.1',
    port: Number(port),
    ca: certificates.text('plant.crt'),
    maxVersion: 'TLSv1.2',
  });
  await once(eager, 'secureConnect');
  const refused = await new Promise<unknown>((resolve) => {
    eager.once('error', resolve);
    eager.renegotiate({}, resolve);
  });
  assert.ok(refused instanceof Error, 'the new one is no way around the limits of the old one');
  eager.destroy();
  writeFileSync(tls.cert, 'torn');
  assert.throws(() => secure.certificateRenewal());
  assert.equal(await serial(), renewed);
});
