/**
 * `npm run screenshots [FOLDER]`: every view of the page, in both languages and themes and on a phone, as the demo
 * shows it, in build/screenshots unless another folder is named. Needs Debian's Chromium, and a Chinese font such as
 * fonts-wqy-microhei.
 */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { asked } from './options.mjs';
import { buildIfStale, install, requireNode, root } from './prepare.mjs';

const VIEWS = ['tags', 'devices', 'buses', 'broker', 'uplinks', 'trend', 'log', 'config'];
const LANGUAGES = ['en', 'zh-CN'];
const THEMES = ['light', 'dark'];
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];

const { names } = asked('npm run screenshots [FOLDER]', {}, { takesNames: true });
requireNode();
install();
await buildIfStale();
// Not there on a clean clone until it was installed.
const { chromium } = await import('playwright-core');
const folder = resolve(names[0] ?? join(root, 'build/screenshots'));
mkdirSync(folder, { recursive: true });
const demo = spawn(process.execPath, [join(root, 'dist/main.js'), 'demo'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
try {
  const url = await pageOf(demo);
  const page = await browser.newPage({ viewport: { width: 1200, height: 760 } });
  await page.goto(url);
  // Lines worth looking at need some values.
  await page.locator('main tbody tr').nth(1).locator('polyline').waitFor();
  await page.waitForFunction(isDrawn, null, { timeout: 60_000 });
  for (const theme of THEMES) {
    for (const language of LANGUAGES) {
      for (const view of VIEWS) await shoot(page, `${view}-${language}-${theme}`, { view, language, theme });
    }
  }
  await page.setViewportSize({ width: 390, height: 800 });
  for (const view of VIEWS) await shoot(page, `${view}-phone`, { view, language: 'en', theme: 'light' });
} finally {
  await browser.close();
  demo.kill('SIGINT');
}

/** Runs in the page: the first sparkline has this many points. */
function isDrawn() {
  return (document.querySelector('polyline')?.getAttribute('points')?.split(' ').length ?? 0) >= 20;
}

/** The address that the demo prints, once values come. */
async function pageOf({ stdout }) {
  let url;
  for await (const line of createInterface({ input: stdout })) {
    url ??= /web page\s+(\S+)/.exec(line)?.[1];
    if (line.includes('/data/meter1/') && url !== undefined) return url;
  }
  throw new Error('the demo ended before it showed values');
}

async function shoot(page, name, { view, language, theme }) {
  await page.getByRole('combobox', { name: /Theme|主题/ }).selectOption(theme);
  await page.getByRole('combobox', { name: /Language|语言/ }).selectOption(language);
  await page.evaluate(`location.hash = '${view}'`);
  if (view === 'trend') {
    for (const name of ['press1/temperature', 'press1/oil_level'])
      await page.getByRole('checkbox', { name }).check();
    await page.locator('canvas').waitFor();
  }
  await page.locator('main').locator('td, dd, p, textarea').first().waitFor();
  // What is in sight is drawn once the browser has said so.
  if (view === 'tags') await page.locator('main td.value').first().waitFor();
  // Figures are asked for when a view opens.
  if (view === 'broker') await page.locator('main table').nth(1).locator('td').first().waitFor();
  if (view === 'buses') await page.locator('meter[value]:not([value="0"])').first().waitFor();
  await page.screenshot({ path: join(folder, `${name}.png`) });
  process.stdout.write(`${name}\n`);
}
