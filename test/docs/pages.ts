/** The pages that people read, and the fenced blocks in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../../src/entry.js';

export const root = packageFolder();

export const PAGES: readonly string[] = [
  ...['README.md', 'README.zh-CN.md', 'CONTRIBUTING.md', 'SECURITY.md'],
  ...readdirSync(join(root, 'docs')).map((name) => join('docs', name)),
].filter((name) => name.endsWith('.md'));

export interface Block {
  readonly language: string;
  /** Of its fence, from 1. */
  readonly line: number;
  /** Without the indentation of the list that it stands in. */
  readonly text: string;
}

export function textOf(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

export function blocksOf(page: string): Block[] {
  const text = textOf(page);
  return [...text.matchAll(/^( *)```(\w*)\n([\s\S]*?)^ *```$/gm)].map((match) => {
    const [, indent = '', language = '', body = ''] = match;
    return {
      language,
      line: text.slice(0, match.index).split('\n').length,
      text: body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    };
  });
}

export interface Command {
  readonly page: string;
  readonly line: number;
  readonly text: string;
}

/** The commands of a page's shell blocks, one a line, and two where && joins them. */
export function commandsOf(page: string): Command[] {
  return blocksOf(page)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ line, text }) =>
      text
        .split('\n')
        .flatMap((written, at) =>
          written
            .replace(/(^|\s)#.*$/, '')
            .split('&&')
            .map((one) => ({ page, line: line + 1 + at, text: one.trim() })),
        )
        .filter((command) => command.text !== ''),
    );
}
