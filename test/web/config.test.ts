/** The config view in a browser: marks, apply, revert, and secrets that stay where they are. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { holdfast } from '../support/holdfast.js';
import { pageSite, withPage } from '../support/page.js';
import { until } from '../support/wait.js';

const CONFIG = `${withPage()}buses: { plc: { protocol: tcp, host: 127.0.0.1, port: 1 } }
devices:
  press1: { bus: plc, unit_id: 1, tags: { level: { holding: 0 } } } # the hydraulic one
uplinks:
  # It was mqtt://gw:in-address@127.0.0.1:1 before.
  other: { nodes: ["mqtt://127.0.0.1:1"], user: gw, password: "of a key", out: [{ from: "holdfast/#" }] }
`;

const site = pageSite(() => CONFIG);
let page: Page;
let editor: Locator;
before(async () => {
  page = await site.open('config');
  editor = page.getByRole('textbox', { name: 'Running configuration' });
  await until('the file', async () => (await editor.inputValue()).startsWith('version: 1'));
});

const fileText = (): string => readFileSync(site.daemon.configFile, 'utf8');
const change = async (from: string | RegExp, to: string): Promise<void> =>
  editor.fill((await editor.inputValue()).replace(from, to));
const press = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();
test('a mistake is marked with the words and the place of check, nothing is applied, and the mark leads there', async () => {
  await change('unit_id: 1', 'unit_idd: 999');
  const wrong = (await editor.inputValue())
    .replace(/gw:\*+\w*@/, 'gw:in-address@')
    .replace(/"\*+\w*"/, '"of a key"');
  const draft = join(site.daemon.folder, 'draft.yaml');
  writeFileSync(draft, wrong);
  const { stdout } = await holdfast(['check', draft]);
  const expected = stdout
    .split('\n')
    .filter((line) => line.startsWith(draft))
    .map((line) => line.slice(draft.length + 1).replace(/ (error|warning)/, '').replaceAll(/\s+/g, ' ').trim());
  assert.ok(expected.length > 0, stdout);
  for (const button of ['Check', 'Apply']) {
    await press(button);
    const marks = page.locator('.problems li');
    await marks.first().waitFor();
    assert.deepEqual(
      (await marks.allInnerTexts()).map((text) => text.replaceAll(/\s+/g, ' ').trim()).sort(),
      [...expected].sort(),
    );
  }
  assert.equal(fileText(), CONFIG);
  const mark = page.locator('.problems li button').first();
  const [line, column] = (await mark.innerText()).split(':').map(Number);
  await mark.click();
  const at = Number(await editor.evaluate('document.activeElement.selectionStart'));
  const before = (await editor.inputValue()).slice(0, at).split('\n');
  assert.deepEqual([before.length, (before.at(-1)?.length ?? 0) + 1], [line, column]);
}); // prettier-ignore

test('what was typed is taken back by revert', async () => {
  await press('Revert');
  assert.match(await editor.inputValue(), /unit_id: 1,/);
  assert.ok(await page.getByRole('button', { name: 'Apply', exact: true }).isDisabled());
});

test('secrets are masked, in addresses too, and a mask that was left alone keeps its secret when the file is applied', async () => {
  const shown = await editor.inputValue();
  assert.doesNotMatch(shown, /in-address|of a key/);
  assert.match(shown, /mqtt:\/\/gw:\*+\w+@127/);
  await change('level: { holding: 0 }', 'level: { holding: 0 }, door: { coil: 3 }');
  await press('Apply');
  await page.getByText('Applied.').waitFor();
  const tags = 'level: { holding: 0 }';
  assert.equal(fileText(), CONFIG.replace(tags, `${tags}, door: { coil: 3 }`));
  // It is there without a restart, and without loading the page again.
  await page.getByRole('link', { name: 'Tags' }).click();
  await page.getByRole('rowheader', { name: 'press1/door' }).waitFor();
  await page.getByRole('link', { name: 'Config' }).click();
  await until('the file', async () => (await editor.inputValue()).includes('door'));
  assert.equal(site.daemon.logged('ready').length, 1);
});

test('a secret that was typed anew replaces its own and no other', async () => {
  await change(/gw:\*+\w*@/, 'gw:fresh@');
  await press('Apply');
  await page.getByText('Applied.').waitFor();
  assert.match(fileText(), /gw:fresh@/);
  assert.match(fileText(), /"of a key"/);
});

test('what somebody else changed meanwhile is not overwritten unasked', async () => {
  const theirs = fileText().replace('level: { holding: 0 }', 'level: { holding: 7 }');
  assert.notEqual(theirs, fileText());
  writeFileSync(site.daemon.configFile, theirs);
  await change('# the hydraulic one', '# the old one');
  await press('Apply');
  await page.getByText('changed by somebody else').waitFor();
  assert.equal(fileText(), theirs);
  await press('Revert');
  assert.match(await editor.inputValue(), /level: \{ holding: 7 \}/);
  await change('# the hydraulic one', '# the old one');
  await press('Apply');
  await page.getByText('Applied.').waitFor();
  assert.equal(fileText(), theirs.replace('# the hydraulic one', '# the old one'));
});

test('a mistake in another file is told with its name, and marks no line of this one', async () => {
  const map = join(site.daemon.folder, 'press.yaml');
  writeFileSync(
    map,
    'version: 1\ntitle: a\nsources: [b]\nverified: documents(1)\ntags: { x: { holding: 99999 } }\n',
  );
  await change('unit_id: 1,', 'unit_id: 1, map: press,');
  await press('Check');
  const mark = page.locator('.problems li');
  await mark.getByText(`${map}:5:23`).waitFor();
  assert.equal(await mark.getByRole('button').count(), 0);
  assert.equal(await page.locator('.gutter b').count(), 0);
  await press('Revert');
});

test('a file that is larger than the broker takes is told as that, and the connection stays', async () => {
  const before = await editor.inputValue();
  await editor.fill(`${before}${`# ${'x'.repeat(1022)}\n`.repeat(300)}`);
  await press('Check');
  await page.getByText(/more than the broker takes at once \(256 KiB\).*max_packet_size/).waitFor();
  await press('Revert');
  await press('Check');
  await page.getByText('No problem found.').waitFor();
});

test('a file of some thousand tags is checked and applied', async () => {
  const tags = Array.from({ length: 3000 }, (_none, at) => `t${at}: { holding: ${at} }`).join(', ');
  await change(/level: \{ holding: 7 \}/, tags);
  await press('Apply');
  await page.getByText('Applied.').waitFor();
  assert.match(fileText(), /t2999/);
});

test('what is typed before the file has come is not overwritten by it', async () => {
  const other = await site.open('config');
  const late: (() => void)[] = [];
  await other.routeWebSocket(/./, (near) => {
    const far = near.connectToServer();
    far.onMessage((message) => {
      const pass = (): void => near.send(message);
      if (message.includes('# the old one')) late.push(pass);
      else pass();
    });
  });
  await other.reload();
  await until('the file to be on its way', () => late.length > 0);
  const text = other.getByRole('textbox', { name: 'Running configuration' });
  await text.fill('version: 2');
  for (const pass of late.splice(0)) pass();
  await other.getByRole('button', { name: 'Check', exact: true }).click();
  await other.locator('.problems li').first().waitFor();
  assert.equal(await text.inputValue(), 'version: 2');
  await other.close();
});

test('an answer that takes long is waited for, as a small router gives it of a large file', async () => {
  const other = await site.open('config');
  const text = other.getByRole('textbox', { name: 'Running configuration' });
  await until('the file', async () => (await text.inputValue()).startsWith('version: 1'));
  // Timers that begin from now on run when they are told to.
  await other.clock.install();
  site.daemon.signal('SIGSTOP');
  try {
    await other.getByRole('button', { name: 'Check', exact: true }).click();
    await other.clock.runFor(30_000);
    assert.equal(await other.getByText('did not answer').count(), 0);
  } finally {
    site.daemon.signal('SIGCONT');
  }
  await other.getByText('No problem found.').waitFor();
  await other.close();
});
