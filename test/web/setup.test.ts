/** The first run in a browser: code, password, and in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import { isLive, pageSite, withPage } from '../support/page.js';

const site = pageSite(() => withPage('users_file: users.passwd'));

test('nobody enters before there is a user; who has the code makes the first and is signed in', async () => {
  const mqtt = `mqtt://127.0.0.1:${site.daemon.port()}`;
  await assert.rejects(
    connectAsync(mqtt, { username: 'ops', password: 'correct horse' }),
    /[Nn]ot authorized|Bad/,
  );
  const [line] = site.daemon.logged(/no user yet/);
  const late = await site.open('tags');
  await late.getByLabel('One-time code').waitFor();
  const page = await site.open('tags');
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
  await isLive(page);
  // Who comes too late with the code is asked who he is.
  for (const name of ['One-time code', 'User', 'Password', 'Password again'])
    await late.getByLabel(name, { exact: true }).fill('another one');
  await late.getByRole('button').click();
  await late.getByRole('button', { name: 'Sign in' }).waitFor();
  await late.close();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  const client = await connectAsync(mqtt, { username: 'ops', password: 'correct horse' });
  await client.endAsync();
  await page.close();
});
