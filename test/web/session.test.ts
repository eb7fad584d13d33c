/** What the page shows of a gateway whose topics have other names, and that becomes another one while it is open. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import { isLive, pageSite, withPage } from '../support/page.js';
import { socketOf } from '../support/plant.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';

let plant: SimulatedPlant;
let port = 0;
/** Where the page is, of both gateways. */
let webPort = 0;

const configOf = (): string => `${withPage(undefined, webPort)}
topics: { data: "site/{device}/{tag}/value", req: "ask/{verb}", res: "told/{verb}", event: "news/{kind}" }
buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port}, timeout: 300ms }
devices:
  press1:
    bus: plc
    unit_id: 1
    rate: 200ms
    tags:
      level: { holding: 0 }
      own: { holding: 1, topic: elsewhere/own }
      together: { holding: 2, payload: batch }
      absent: { holding: 2, payload: batch, invalid: [7] }
      long: { holding: 4, type: uint64, payload: batch }
      alarms: { holding: 3, flags: { 0: hot, 1: low }, write: true }
  away:
    bus: plc
    unit_id: 9
    tags:
      run: { coil: 0, write: true }
`;

const site = pageSite(async () => {
  plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: [] }] }],
  });
  port = (await socketOf(plant, 'plc')).port;
  webPort = await freePort();
  await plant.poke('plc', 1, 'holding-register', 0, 8, '00050006000700010020000000000001');
  return configOf();
});
after(() => plant?.stop());

const row = (page: Page, name: string): Locator =>
  page.getByRole('row').filter({ has: page.getByRole('rowheader', { name, exact: true }) });

test('values come whatever their topics are called, those of a batch too', async () => {
  const page = await site.open('tags');
  await isLive(page);
  for (const [name, value] of [
    ['level', '5'],
    ['own', '6'],
    ['together', '7'],
    ['long', '9007199254740993'],
  ] as const) {
    await row(page, `press1/${name}`).getByText(value, { exact: true }).waitFor();
    assert.match(await row(page, `press1/${name}`).innerText(), /good/, name);
  }
  assert.match(await row(page, 'press1/absent').innerText(), /–\s.*bad not available/s);
  await page.close();
});

test('what has no value yet is not written before one was chosen; flags are written by their names', async () => {
  const page = await site.open('tags');
  await isLive(page);
  const dialog = page.getByRole('dialog');
  const confirm = dialog.getByRole('button', { name: 'Write to the device' });
  await row(page, 'away/run').getByRole('button').click();
  assert.equal(await dialog.getByRole('combobox').inputValue(), '');
  assert.ok(await confirm.isDisabled());
  await dialog.getByRole('combobox').selectOption('true');
  assert.ok(await confirm.isEnabled());
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await row(page, 'press1/alarms').getByText('hot').waitFor();
  await row(page, 'press1/alarms').getByRole('button').click();
  assert.equal(await dialog.getByRole('textbox').inputValue(), 'hot');
  await dialog.getByRole('textbox').fill('hot, low');
  await confirm.click();
  await dialog.getByText('The device confirmed').waitFor();
  await row(page, 'press1/alarms').getByText('hot,low').waitFor();
  await page.close();
});

test('a page that is open while a reload gives the gateway another name is soon the page of that one', async () => {
  const page = await site.open('tags');
  await isLive(page);
  writeFileSync(site.daemon.configFile, configOf().replace('id: p7', 'id: p9').replaceAll('"site/', '"plant/').replace('news/', 'said/'));
  process.kill(site.daemon.pid, 'SIGHUP');
  await until('its name', async () => (await page.title()) === 'p9 – holdfast', 30_000);
  await row(page, 'press1/level').getByText('5', { exact: true }).waitFor();
  await page.close();
  writeFileSync(site.daemon.configFile, configOf());
  process.kill(site.daemon.pid, 'SIGHUP');
  await until('the first name', () => site.daemon.logged('the config was applied').length >= 2);
}); // prettier-ignore

test('a page that is open while the gateway becomes another one is soon the page of that one', async () => {
  const page = await site.open('tags');
  await isLive(page);
  await site.daemon.stop();
  const renamed = configOf().replace('id: p7', 'id: p8').replace('site/', 'plant/');
  writeFileSync(site.daemon.configFile, renamed);
  await site.daemon.start();
  await until('its name', async () => (await page.title()) === 'p8 – holdfast', 30_000);
  await row(page, 'press1/level').getByText('5', { exact: true }).waitFor();
  await page.close();
});
