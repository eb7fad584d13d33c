/** The first run in a browser: code, password, and in. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { connectAsync } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { launchBrowser } from '../support/page.js';

const CONFIG = `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  users_file: users.passwd
  store: memory
web: { host: 127.0.0.1, port: 0 }
`;
let daemon: Daemon;
let browser: Browser;
before(async () => {
  daemon = await new Daemon(CONFIG).start();
  browser = await launchBrowser();
});
after(async () => {
  await browser.close();
  await daemon.remove();
});

test('nobody enters before there is a user; who has the code makes the first and is signed in', async () => {
  const mqtt = `mqtt://127.0.0.1:${daemon.port()}`;
  await assert.rejects(
    connectAsync(mqtt, { username: 'ops', password: 'correct horse' }),
    /[Nn]ot authorized|Bad/,
  );
  const [line] = daemon.logged(/no user yet/);
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${daemon.port('http')}/`);
  const fill = (name: string | RegExp, text: string): Promise<void> =>
    page.getByLabel(name, { exact: true }).fill(text);
  await fill('One-time code', 'WRONG-WRONG');
  await fill('User', 'ops');
  await fill('Password', 'correct horse');
  await fill('Password again', 'correct hoarse');
  await page.getByRole('button').click();
  await page.getByText('The two differ.').waitFor();
  await fill('Password again', 'correct horse');
  await page.getByRole('button').click();
  await page.getByText('the code is not right').waitFor();
  await fill('One-time code', String(line?.['code']));
  await page.getByRole('button').click();
  await page.getByRole('status').getByText('live').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  const client = await connectAsync(mqtt, { username: 'ops', password: 'correct horse' });
  await client.endAsync();
  await page.close();
});
