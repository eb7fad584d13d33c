/** The page in Debian's Chromium, on a running gateway with a simulated device. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { SimulatedPlant } from '../../src/simulator/plant.js';
import type { ValueSpec } from '../../src/simulator/spec.js';
import { Daemon } from '../support/daemon.js';
import { launchBrowser, VIEWS } from '../support/page.js';
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
let daemon: Daemon;
let browser: Browser;
let port = 0;
const faults: string[] = [];

function configOf(extra = ''): string {
  return `version: 1
gateway: { id: p7 }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: 0 }]
  anonymous: true
  store: memory
web: { host: 127.0.0.1, port: 0 }
buses:
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
${extra}`;
}

before(async () => {
  plant = await SimulatedPlant.start({
    buses: [
      {
        name: 'plc',
        link: { kind: 'tcp' },
        units: [{ unitId: 1, values: [STROKES] }],
      },
    ],
  });
  port = (await socketOf(plant, 'plc')).port;
  // What a device says must never become part of the page.
  await plant.poke('plc', 1, 'holding-register', 20, 8, Buffer.from('<img src=x>\0\0\0\0\0').toString('hex'));
  daemon = await new Daemon(configOf()).start();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await daemon?.stop();
  await daemon?.remove();
  await plant?.stop();
});

async function open(view: string): Promise<Page> {
  const page = await browser.newPage();
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  await page.goto(`${daemon.listeners.find((url) => url.startsWith('http'))}#${view}`);
  await page.getByRole('status').getByText('live').waitFor();
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
  await dialog.getByRole('textbox').fill('12.5');
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

test('the config is checked with places, refused while it is wrong, and applied without a restart', async () => {
  const page = await open('config');
  const editor = page.getByRole('textbox', { name: 'Running configuration' });
  await until('the file', async () => (await editor.inputValue()) === configOf());
  await editor.fill(configOf('      dor: { discreet: 1 }\n'));
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('did you mean discrete?').waitFor();
  await editor.fill(configOf('      door: { discrete: 1 }\n'));
  await page.getByRole('button', { name: 'Apply' }).click();
  await page.getByText('Applied.').waitFor();
  const tags = await open('tags');
  await row(tags, 'press1/door').getByText('good').waitFor();
  assert.equal(daemon.log.filter(({ msg }) => msg === 'ready').length, 1);
  await tags.close();
  await page.close();
});

test('nothing went wrong in the browser meanwhile', () => {
  assert.deepEqual(faults, []);
});
