import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { WebServer, type WebOptions } from '../../src/web/server.js';
import { until } from '../support/wait.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-page-'));
const script = '0123456789'.repeat(1_000_000);
writeFileSync(join(folder, 'index.html'), '<!doctype html><title>holdfast</title>');
writeFileSync(join(folder, 'app-1A2B3C4D.js'), script);
writeFileSync(join(folder, 'app-1A2B3C4D.js.br'), brotliCompressSync(script));
writeFileSync(join(folder, 'app-1A2B3C4D.js.gz'), gzipSync(script));
after(() => rmSync(folder, { recursive: true, force: true }));

const options = {
  host: '127.0.0.1',
  port: 0,
  tls: null,
  connectionsMax: 100,
  hostNames: [],
  pageFolder: folder,
  metrics: new Metrics(),
  log: silentLog,
  notReady: () => null,
  about: () => ({}),
  setup: null,
  upgrade: (_request, socket) => socket.destroy(),
} satisfies WebOptions;
const server = new WebServer(options);
const base = new URL(await server.listen());
after(() => server.close());

interface Got {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> {
  return new Promise((resolve, reject) => {
    request(new URL(path, base), { headers, method, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', reject)
      .end();
  });
}

/** Asks for the script, and goes away with its first bytes. */
function askAndLeave(): Promise<void> {
  return new Promise((resolve) => {
    const socket: Socket = connect(Number(base.port), '127.0.0.1');
    socket.on('error', () => {}).on('close', () => resolve());
    socket.once('data', () => socket.destroy());
    socket.write(`GET /app-1A2B3C4D.js HTTP/1.1\r\nhost: ${base.host}\r\n\r\n`);
  });
}

/** The files of the folder that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

/** Whether the server's side of a connection is established, as the kernel sees it. */
function isHeld(port: number, clientPort: number): boolean {
  const hex = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .some((line) => new RegExp(`:${hex(port)} \\w+:${hex(clientPort)} 01 `).test(line));
}

test('whatever part of a file is asked for, it comes whole', async () => {
  for (const range of [
    'bytes=10-5',
    'bytes=0-3',
    'bytes=-5',
    'bytes=5--3',
    'bytes=99999999999-',
    'lines=1',
  ]) {
    const { status, body } = await get('/app-1A2B3C4D.js', { range });
    assert.deepEqual([range, status, body.length], [range, 200, script.length]);
  }
});

test('who goes away before he has a file leaves no descriptor open', async () => {
  for (let count = 0; count < 10; count++) await askAndLeave();
  assert.deepEqual(openFiles(), []);
});

test('a file comes in the best coding that is accepted, and not again while it is the same', async () => {
  const coding = async (accepted: string): Promise<unknown> =>
    (await get('/app-1A2B3C4D.js', { 'accept-encoding': accepted })).headers['content-encoding'];
  assert.equal(await coding('gzip, deflate, br'), 'br');
  assert.equal(await coding('gzip;q=0.5, br;q=0'), 'gzip');
  assert.equal(await coding('vibrant'), undefined);
  const { headers, body } = await get('/app-1A2B3C4D.js', { 'accept-encoding': 'br' });
  assert.equal(brotliDecompressSync(body).toString(), script);
  assert.equal(headers['content-type'], 'text/javascript; charset=utf-8');
  assert.equal(headers['vary'], 'accept-encoding');
  const known = { 'accept-encoding': 'br', 'if-none-match': String(headers['etag']) };
  const again = await get('/app-1A2B3C4D.js', known);
  assert.deepEqual([again.status, again.body.length], [304, 0]);
  // The etag of one coding is not that of another.
  assert.equal((await get('/app-1A2B3C4D.js', { ...known, 'accept-encoding': 'gzip' })).status, 200);
  const asked = await get('/app-1A2B3C4D.js', {}, 'HEAD');
  assert.deepEqual([asked.headers['content-length'], asked.body.length], [String(script.length), 0]);
});

test('who does not take what he asked for is cut off in time', async (context) => {
  const hasty = new WebServer({ ...options, timeoutMs: 200 });
  const { host, port } = new URL(await hasty.listen());
  context.after(() => hasty.close());
  const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
  socket.write(`GET /app-1A2B3C4D.js HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
  await until('an answer', () => socket.readableLength > 0);
  assert.ok(isHeld(Number(port), socket.localPort ?? 0));
  await until('the end of it', () => !isHeld(Number(port), socket.localPort ?? 0));
  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length));
  await once(socket, 'close');
  assert.ok(received < script.length, 'it was sent whole');
});

test('the page goes on while its files are replaced beneath it', async () => {
  rmSync(folder, { recursive: true });
  assert.match((await get('/')).body.toString(), /<title>holdfast/);
});
