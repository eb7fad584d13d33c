/** cert: what it makes is believed by openssl and by a TLS listener, and nobody else may read its keys. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Daemon } from '../support/daemon.js';
import { holdfast } from '../support/holdfast.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-cert-'));
after(() => rmSync(folder, { recursive: true }));
const certs = join(folder, 'certs');
const cert = (...args: string[]) => holdfast(['cert', ...args], { cwd: folder });

test('an authority, a server and a client are made, verified by openssl, and used over TLS', async (t) => {
  assert.equal((await cert('server', 'localhost', '127.0.0.1', 'gateway.lan')).code, 0);
  assert.equal((await cert('client', 'scada')).code, 0);
  const ca = join(certs, 'ca.crt');
  for (const name of ['server', 'scada'])
    execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', ca, join(certs, `${name}.crt`)]);
  for (const name of ['ca', 'server', 'scada']) assert.equal(statSync(join(certs, `${name}.key`)).mode & 0o777, 0o600);
  const text = execFileSync('openssl', ['x509', '-noout', '-text', '-in', join(certs, 'server.crt')]).toString();
  assert.match(text, /DNS:localhost, IP Address:127\.0\.0\.1, DNS:gateway\.lan/);
  assert.match(text, /TLS Web Server Authentication/);

  const daemon = new Daemon(`
version: 1
broker:
  listeners: [{ protocol: mqtts, host: 127.0.0.1, port: 0, tls: { cert: "${certs}/server.crt", key: "${certs}/server.key", client_ca: "${ca}" } }]
  anonymous: true
  store: memory
`);
  t.after(() => daemon.remove());
  await daemon.start();
  const url = `mqtts://127.0.0.1:${daemon.port('mqtts')}`;
  const sent = await holdfast(['pub', '--url', url, '--ca', ca, 'a', 'b']);
  assert.equal(sent.code, 0, sent.stderr);
  const unknown = await holdfast(['pub', '--url', url, 'a', 'b']);
  assert.equal(unknown.code, 6, unknown.stderr);
  assert.match(unknown.stderr, /--ca/);
}); // prettier-ignore

test('nothing is replaced unasked, and show tells for whom and how long', async () => {
  const before = (await cert('ca', '-d', 'other')).code;
  assert.equal(before, 0);
  const key = readFileSync(join(folder, 'other/ca.key'), 'utf8');
  const again = await cert('ca', '-d', 'other');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /--force/);
  assert.equal(readFileSync(join(folder, 'other/ca.key'), 'utf8'), key);
  await cert('server', '-d', 'other', '--days', '30', 'plant.lan');
  const { stdout } = await cert('show', '--json', 'other/server.crt');
  const shown = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(shown['subject'], 'CN=plant.lan');
  assert.equal(shown['names'], 'DNS:plant.lan');
  assert.equal(shown['days_left'], 29);
  for (const args of [
    [],
    ['server'],
    ['client', '../x'],
    ['show'],
    ['show', 'other/ca.key'],
    ['client', 'ca'],
  ])
    assert.equal((await cert(...args)).code, 2, args.join(' '));
});
