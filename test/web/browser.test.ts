/** The page in Debian's Chromium, on a running gateway with a simulated device. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Page } from 'playwright-core';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import type { ValueSpec } from '../../src/simulator/spec.js';
import { isLive, pageSite, VIEWS, withPage } from '../support/page.js';
import { socketOf } from '../support/plant.js';
import { until } from '../support/wait.js';
import { dissected } from '../support/wireshark.js';

const STROKES: ValueSpec = {
  table: 'input-register',
  address: 0,
  quantity: 1,
  script: 'counter',
  type: 'uint16',
  order: 'ABCD',
  min: 0,
  max: 60_000,
  periodMs: 600_000,
};

let plant: SimulatedPlant;
let port = 0;
const faults: string[] = [];

function configOf(): string {
  return `${withPage()}buses:
  plc: { protocol: tcp, host: 127.0.0.1, port: ${port}, timeout: 300ms }
devices:
  press1:
    bus: plc
    unit_id: 1
    rate: 200ms
    tags:
      strokes: { input: 0, type: uint16 }
      setpoint: { holding: 10, type: uint16, scale: 0.1, unit: bar, write: { min: 0, max: 50 } }
      note: { holding: 20, count: 8, type: string }
      pulse: { input: 0, bit: 1 }
      energy_since_it_was_commissioned: { holding: 30, type: uint64, write: true }
`;
}

const site = pageSite(async () => {
  plant = await SimulatedPlant.start({
    buses: [{ name: 'plc', link: { kind: 'tcp' }, units: [{ unitId: 1, values: [STROKES] }] }],
  });
  port = (await socketOf(plant, 'plc')).port;
  // What a device says must never become part of the page.
  await plant.poke('plc', 1, 'holding-register', 20, 8, Buffer.from('<img src=x>\0\0\0\0\0').toString('hex'));
  await plant.poke('plc', 1, 'holding-register', 30, 4, 'f'.repeat(16));
  return configOf();
});
after(() => plant?.stop());

async function open(view: string): Promise<Page> {
  const page = await site.open(view);
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  await isLive(page);
  return page;
}

function row(page: Page, name: string) {
  return page.getByRole('row').filter({ has: page.getByRole('rowheader', { name, exact: true }) });
}

test('values are shown as they change, hostile text as text', async () => {
  const page = await open('tags');
  const strokes = row(page, 'press1/strokes').getByRole('cell').first();
  await strokes.waitFor();
  const first = await until('a value', async () => (await strokes.innerText()).match(/\d+/)?.[0]);
  await until('another value', async () => (await strokes.innerText()).match(/\d+/)?.[0] !== first);
  assert.match(await row(page, 'press1/strokes').innerText(), /good/);
  await row(page, 'press1/note').getByText('<img src=x>').waitFor();
  await page.close();
});

test('a write reaches the device, and one outside its limits does not leave the page', async () => {
  const page = await open('tags');
  await row(page, 'press1/setpoint').getByRole('button').click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('textbox').fill('51');
  assert.ok(await dialog.getByRole('button', { name: 'Write to the device' }).isDisabled());
  // As a phone with a decimal comma has it: nobody guesses what is meant.
  await dialog.getByRole('textbox').fill('12,5');
  assert.match(await dialog.innerText(), /with a point before its decimals/);
  await dialog.getByRole('textbox').fill('+12.50');
  await dialog.getByRole('button', { name: 'Write to the device' }).click();
  await dialog.getByText('The device confirmed 12.5.').waitFor();
  assert.equal(await plant.peek('plc', 1, 'holding-register', 10, 1), '007d');
  await page.close();
});

test('a unit that goes silent is shown as bad with the reason, and good again when it is back', async () => {
  const page = await open('tags');
  await row(page, 'press1/strokes').getByText('good').waitFor();
  await plant.setFaults('plc', 1, [{ name: 'silent' }]);
  await row(page, 'press1/strokes')
    .getByText(/no answer|offline/)
    .waitFor({ timeout: 15_000 });
  await page.goto(`${page.url().split('#')[0]}#devices`);
  await page
    .getByText(/^(offline|degraded)/)
    .first()
    .waitFor();
  await plant.clearFaults();
  await page
    .getByText(/^online/)
    .first()
    .waitFor({ timeout: 15_000 });
  await page.close();
});

test('the frames of a bus are shown as they pass, filtered, and stand still on pause', async () => {
  const page = await open('buses');
  await page.getByRole('button', { name: 'Frames' }).click();
  const frames = page.getByRole('region', { name: 'Frames' }).locator('tbody tr');
  await frames.filter({ hasText: 'sent' }).first().waitFor();
  await frames.filter({ hasText: 'received' }).first().waitFor();
  // Unit 1, function 4, from register 0.
  await page.getByRole('searchbox').fill('01 04 00 00');
  await until('only requests', async () => (await frames.filter({ hasText: 'received' }).count()) === 0);
  await frames.first().waitFor();
  await page.getByRole('checkbox', { name: 'Pause' }).check();
  const first = await frames.first().innerText();
  await page.getByRole('status').getByText('live').waitFor();
  assert.equal(await frames.first().innerText(), first);
  await page.getByRole('button', { name: 'Frames' }).click();
  await frames.first().waitFor({ state: 'detached' });
  await page.close();
});

test('the frames that are shown are saved as a capture that Wireshark reads', async () => {
  const page = await open('buses');
  await page.getByRole('button', { name: 'Frames' }).click();
  const frames = page.getByRole('region', { name: 'Frames' }).locator('tbody tr');
  await frames.filter({ hasText: 'received' }).first().waitFor();
  await page.getByRole('searchbox').fill('read input registers');
  await until('only those', async () => (await frames.filter({ hasText: 'holding' }).count()) === 0);
  // The answer that was waited for above may have been one of the others.
  await frames.filter({ hasText: 'sent' }).first().waitFor();
  await frames.filter({ hasText: 'received' }).first().waitFor();
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download pcap' }).click(),
  ]);
  assert.equal(saved.suggestedFilename(), 'plc.pcap');
  const packets = dissected(await saved.path());
  assert.ok(packets.length >= 2);
  for (const packet of packets) {
    assert.equal(packet['frame.protocols'], 'raw:ip:tcp:mbtcp:modbus');
    assert.equal(packet['modbus.func_code'], '4');
  }
  await page.close();
});

test('every view draws, in both languages, without an error', async () => {
  const page = await open('tags');
  for (const language of ['en', 'zh-CN']) {
    await page.getByRole('combobox', { name: /Language|语言/ }).selectOption(language);
    for (const view of VIEWS) {
      await page.goto(`${page.url().split('#')[0]}#${view}`);
      await page.locator('main').locator('h2, table, p, details, textarea').first().waitFor();
    }
  }
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
  await page.close();
});

test('on a phone the names of all views are in sight', async () => {
  const page = await site.open('config', { viewport: { width: 390, height: 800 } });
  await isLive(page);
  for (const link of await page.locator('nav a').all()) {
    const box = await link.boundingBox();
    assert.ok(box !== null && box.x >= 0 && box.x + box.width <= 390, await link.innerText());
  }
  await page.close();
}); // prettier-ignore

test('on a phone a value of twenty digits leaves room for its name and its button', async () => {
  const page = await site.open('tags', { viewport: { width: 360, height: 800 } });
  await isLive(page);
  const row = page.getByRole('row', { name: 'press1/energy_since_it_was_commissioned' });
  await row.getByText('18446744073709551615').waitFor();
  const name = await row.getByRole('rowheader').boundingBox();
  assert.ok(name !== null && name.width >= 96, JSON.stringify(name));
  const button = await row.getByRole('button').boundingBox();
  assert.ok(button !== null && button.x + button.width <= 360, JSON.stringify(button));
  await page.goto(`${page.url().split('#')[0]}#trend`);
  const choice = await page.getByText('press1/energy_since_it_was_commissioned').boundingBox();
  assert.ok(choice !== null && choice.x + choice.width <= 360, JSON.stringify(choice));
  await page.close();
});

test('a value is as old as the gateway says, whatever the clock of the browser shows', async () => {
  const page = await open('tags');
  await page.addInitScript('const { now } = Date; Date.now = () => now() + 7_200_000;');
  await page.reload();
  await isLive(page);
  const age = row(page, 'press1/strokes').locator('.age');
  await until('an age', async () => /^\d+ s$/.test(await age.innerText()));
  await page.close();
});

test('a truth is drawn in steps', async () => {
  const page = await open('tags');
  const line = page.getByRole('row', { name: 'press1/pulse' }).locator('polyline');
  await until('a few changes', async () => ((await line.getAttribute('points')) ?? '').split(' ').length >= 6);
  const points = ((await line.getAttribute('points')) ?? '').split(' ').map((point) => point.split(','));
  for (let at = 1; at < points.length; at += 1)
    assert.ok(points[at]?.[0] === points[at - 1]?.[0] || points[at]?.[1] === points[at - 1]?.[1], String(points));
  await page.close();
}); // prettier-ignore

test('nothing went wrong in the browser meanwhile', () => {
  assert.deepEqual(faults, []);
});
