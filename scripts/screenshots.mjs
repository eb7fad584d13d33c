/**
 * `npm run screenshots [FOLDER]`: every view of the page, in both languages and themes and on a phone, as the demo
 * shows it, in build/screenshots unless another folder is named. Needs Debian's Chromium.
 */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { buildIfStale, install, requireNode, root } from './prepare.mjs';

const VIEWS = ['tags', 'devices', 'buses', 'broker', 'uplinks', 'trend', 'log', 'config'];
const LANGUAGES = ['en', 'zh-CN'];
const THEMES = ['light', 'dark'];
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];

requireNode();
install();
await buildIfStale();
const folder = resolve(process.argv[2] ?? join(root, 'build/screenshots'));
mkdirSync(folder, { recursive: true });
const demo = spawn(process.execPath, [join(root, 'dist/main.js'), 'demo'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
try {
  const url = await pageOf(demo);
  for (const theme of THEMES) {
    for (const language of LANGUAGES) {
      for (const view of VIEWS) await shoot(`${view}-${language}-${theme}`, url, { view, language, theme });
    }
  }
  await shoot('tags-phone', url, { view: 'tags', language: 'en', theme: 'light', width: 390, height: 800 });
} finally {
  await browser.close();
  demo.kill('SIGINT');
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

async function shoot(name, url, { view, language, theme, width = 1200, height = 760 }) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: theme });
  await page.goto(`${url}#${view}`);
  await page.getByRole('combobox', { name: /Language|语言/ }).selectOption(language);
  await page
    .getByRole('status')
    .first()
    .filter({ hasNotText: /connecting/ })
    .waitFor();
  if (view === 'trend')
    for (const box of (await page.getByRole('checkbox').all()).slice(0, 2)) await box.check();
  await page.locator('main').locator('td, dd, p, textarea, canvas').first().waitFor();
  // A sparkline needs two values.
  if (view === 'tags') await page.locator('polyline').first().waitFor();
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
  process.stdout.write(`${name}\n`);
}
