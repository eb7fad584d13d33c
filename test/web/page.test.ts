import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';

const source = join(packageFolder(), 'src/web/page');
const built = join(packageFolder(), 'dist/page');

const catalogue = (name: string): Record<string, string> =>
  JSON.parse(readFileSync(join(source, name), 'utf8')) as Record<string, string>;

test('both languages have every text, with the same places to fill in', () => {
  const [en, zh] = [catalogue('en.json'), catalogue('zh-CN.json')];
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
  const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const [key, text] of Object.entries(en)) assert.deepEqual(places(zh[key] ?? ''), places(text), key);
});

test('the first load takes at most 60 kB compressed, at most 90 kB with the chart', () => {
  const bytes = (pattern: RegExp): number =>
    readdirSync(built)
      .filter((name) => pattern.test(name) && name.endsWith('.gz'))
      .reduce((sum, name) => sum + readFileSync(join(built, name)).length, 0);
  const first = bytes(/^(main|style|index)/);
  assert.ok(first > 10_000 && first <= 60_000, `${first} bytes`);
  assert.ok(bytes(/./) <= 90_000, `${bytes(/./)} bytes with the chart`);
});

test('the page holds no inline script or style, and nothing from elsewhere', () => {
  const page = readFileSync(join(built, 'index.html'), 'utf8');
  assert.doesNotMatch(page, /<script(?![^>]*src=)|<style|style=|\son\w+=|https?:/);
});
