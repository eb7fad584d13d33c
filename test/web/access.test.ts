/** The page for those who see little, use no mouse, or hear it read out: what axe knows of WCAG, and the keyboard. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { isLive, pageSite, VIEWS, withPage } from '../support/page.js';

interface Finding {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// A bus without a device: every tag is bad, and every colour of the page is seen.
const CONFIG = `${withPage()}
buses: { plc: { protocol: tcp, host: 127.0.0.1, port: 1 } }
devices:
  press1: { bus: plc, unit_id: 1, rate: 200ms, tags: { level: { holding: 0 }, setpoint: { holding: 1, write: true } } }
uplinks: { cloud: { nodes: ["mqtt://127.0.0.1:1"], out: [{ from: "holdfast/#" }] } }
`;

const site = pageSite(() => CONFIG);

async function open(view: string, options: Parameters<Browser['newPage']>[0] = {}): Promise<Page> {
  const page = await site.open(view, options);
  await isLive(page);
  await page.locator('main').locator('h2, table, p, details, textarea').first().waitFor();
  return page;
}

async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const { violations } = (await page.evaluate('axe.run()')) as { violations: Finding[] };
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${help}: ${html}: ${failureSummary}`),
  );
}

for (const colorScheme of ['light', 'dark'] as const) {
  describe(`in ${colorScheme}, axe finds nothing`, () => {
    for (const view of VIEWS) {
      test(`in ${view}`, async () => {
        const page = await open(view, { colorScheme });
        assert.deepEqual(await findings(page), []);
        await page.close();
      });
    }

    test('in the dialog that writes', async () => {
      const page = await open('tags', { colorScheme });
      await page.getByRole('button', { name: /setpoint/ }).click();
      await page.getByRole('dialog').waitFor();
      assert.deepEqual(await findings(page), []);
      await page.close();
    });
  });
}

test('a phone shows every view without scrolling sideways', async () => {
  for (const view of VIEWS) {
    const page = await open(view, { viewport: { width: 360, height: 740 } });
    const width = await page.evaluate('document.documentElement.scrollWidth');
    assert.ok(Number(width) <= 360, `${view}: ${String(width)} px`);
    assert.deepEqual(await findings(page), [], view);
    await page.close();
  }
});

test('the keyboard reaches the content first, opens the dialog that writes, and leaves it where it was', async () => {
  const page = await open('tags');
  await page.keyboard.press('Tab');
  const focused = (): Promise<unknown> => page.evaluate('document.activeElement.textContent');
  assert.match(String(await focused()), /content/i);
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'main');
  const write = page.getByRole('button', { name: /setpoint/ });
  await write.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.equal(
    await page.evaluate('document.querySelector("dialog").contains(document.activeElement)'),
    true,
  );
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.ok(
    await page.evaluate('document.activeElement?.getAttribute("aria-label")?.includes("setpoint") ?? false'),
  );
  await page.close();
});
