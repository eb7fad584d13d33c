/**
 * YAML 1.2 text -> plain values, with the place of every key and value. It owns what the notation may hold (one tag,
 * no merge keys, bounded aliases and size) and the traps of YAML itself; what the keys mean is schema.ts's.
 * Any bytes are answered with a Source and problems; nothing is thrown.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import {
  CST,
  type Document,
  type Node,
  type Scalar,
  type YAMLMap,
  Lexer,
  LineCounter,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  parseDocument,
} from 'yaml';
import { messageOf, withoutPasswords } from '../errors.js';
import { isEndless, NOT_A_FILE, secretIn } from './named.js';
import { type Path, type Problem, keyOf, pathText } from './problems.js';
import { shown } from './schema/words.js';

/** A file may have so many bytes. */
export const FILE_MAX_BYTES = 16 * 2 ** 20;
/** Values that aliases may add to what is written out. */
const ALIAS_MAX_NODES = 100_000;
const DEPTH_MAX = 64;
/** More would only scroll by. */
const PROBLEMS_MAX = 500;
const SYNTAX_ERRORS_MAX = 3;

/** What is shorter is no secret, and a part of many words. */
const SECRET_MIN_CHARACTERS = 6;

/** What a serial line's format looks like is the number 80 to YAML; nobody writes 80 that way. */
const SERIAL_FORMAT = /^[78][eE][12]$/;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Which end of a place in the tree is meant: the key itself, or what it holds. */
export type End = 'key' | 'value';

interface Converted {
  value: unknown;
  /** Values in it, itself included. */
  nodes: number;
}

/** One file, read: its values, and where each stands. */
export class Source {
  readonly file: string;
  readonly folder: string;
  readonly problems: Problem[] = [];
  /** What the file holds: maps are plain objects (keys by keyOf()), big integers are bigint. */
  readonly value: unknown;
  readonly #lines = new LineCounter();
  readonly #environment: Environment;
  /** Where the keys of the first two levels stand, so that saying something of a bus needs no second reading. */
  readonly #shallow = new Map<string, { readonly key: number; readonly value: number }>();
  readonly #anchors = new Map<string, Converted | null>();
  /** Paths whose text came from the environment, so that it may be meant as a number or truth. */
  readonly #substituted = new Set<string>();
  /** What came from the environment and from files, as it may be quoted, and how it is written in this file. */
  readonly #references = new Map<string, string>();
  /** Paths whose text came from a file, and that file. */
  readonly #files = new Map<string, string>();
  /** Paths of which something has been said already; nothing that follows from it is worth a line. */
  readonly #spoilt = new Set<string>();
  readonly #text: string;
  /** Given up once read: it weighs a hundred times the text, and most files have no problem to be placed. */
  #document: Document.Parsed | null = null;
  #aliasNodes = 0;
  #dropped = 0;

  constructor(file: string, text: string, environment: Environment) {
    this.file = file;
    this.folder = dirname(resolve(file));
    this.#environment = environment;
    this.#text = text;
    this.value = this.#read();
    this.#document = null;
    this.#anchors.clear();
  }

  /** True when the text itself is not YAML; then nothing further is worth saying. */
  get isBroken(): boolean {
    return this.problems.some(({ code, path }) => code === 'HF1001' || (code === 'HF1002' && path === ''));
  }

  add(severity: 'error' | 'warning', code: string, path: Path, text: string, end: End = 'value'): void {
    if (this.#spoilt.size > 0 && this.#spoilt.has(pathText(path))) return;
    this.#push(severity, code, this.place(path, end), path, withoutPasswords(this.#referred(text)));
  }

  /** A problem names what holds a secret, never the secret: it goes into logs, and to whoever has a text checked. */
  #referred(text: string): string {
    let referred = text;
    for (const [value, written] of this.#references) referred = referred.replaceAll(value, () => written);
    return referred;
  }

  #refer(value: string, written: string): void {
    if (value.length < SECRET_MIN_CHARACTERS) return;
    const quoted = [JSON.stringify(value), shown(value)].map((text) => text.slice(1, -1));
    for (const form of [value, ...quoted]) this.#references.set(form, written);
  }

  /** What a text from the environment is as a number or truth; undefined when it is neither, or stands in the file. */
  reread(path: Path, value: unknown): number | boolean | undefined {
    if (typeof value !== 'string' || !this.#substituted.delete(pathText(path))) return undefined;
    if (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(value)) return Number(value);
    return value === 'true' ? true : value === 'false' ? false : undefined;
  }

  /** The file that the text there came from; null: it stands here. */
  fileOf(path: Path): string | null {
    return this.#files.get(pathText(path)) ?? null;
  }

  /** Line and column of what the path leads to; of its nearest parent that exists, when it does not. */
  place(path: Path, end: End = 'value'): Place {
    const known = this.#shallow.get(pathText(path));
    if (known !== undefined) {
      const { line, col } = this.#lines.linePos(end === 'key' ? known.key : known.value);
      return { line, column: col };
    }
    this.#document ??= this.isBroken ? null : this.#parse();
    const document = this.#document;
    let node: unknown = document?.contents;
    let offset = 0;
    path.forEach((step, index) => {
      if (isAlias(node) && document !== null) node = node.resolve(document);
      const isLast = index === path.length - 1;
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => keyText(key) === step);
        if (pair === undefined) return void (node = null);
        const keyAt = start(pair.key);
        const valueAt = start(pair.value);
        offset = (isLast && end === 'value' ? (valueAt ?? keyAt) : keyAt) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = typeof step === 'number' ? node.items[step] : null;
        offset = start(node) ?? offset;
      } else node = null;
    });
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #push(severity: 'error' | 'warning', code: string, place: Place, path: Path, text: string): void {
    if (this.problems.length >= PROBLEMS_MAX) {
      this.#dropped += 1;
      if (this.#dropped > 1) return;
      [code, text, path] = ['HF1009', `more than ${PROBLEMS_MAX} problems; repair these first`, []];
    }
    this.problems.push({ severity, file: this.file, ...place, code, path: pathText(path), text });
  }

  /** Lines are counted the first time only. */
  #parse(lines = new LineCounter()): Document.Parsed {
    return parseDocument(this.#text, {
      lineCounter: lines,
      version: '1.2',
      merge: false,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: 'error',
      stringKeys: false,
    });
  }

  #read(): unknown {
    if (isTooDeep(this.#text)) {
      const text = `nested deeper than ${DEPTH_MAX} levels; nothing in a config is that deep`;
      this.#push('error', 'HF1002', { line: 1, column: 1 }, [], text);
      return undefined;
    }
    try {
      this.#document = this.#parse(this.#lines);
      // What follows an error that breaks the structure is its consequence, and so is what else is wrong with its line.
      const told = new Set<number>();
      for (const { message, pos } of this.#document.errors.slice(0, SYNTAX_ERRORS_MAX)) {
        if (this.isBroken && message.includes('in YAML stream')) break;
        const { line, col } = this.#lines.linePos(pos[0]);
        if (told.has(line)) continue;
        told.add(line);
        this.#push(
          'error',
          'HF1001',
          { line, column: col },
          [],
          yamlText(message, this.#text.split('\n'), line - 1),
        );
      }
      if (this.isBroken) return undefined;
      return this.#convert(this.#document.contents, [], 0).value;
    } catch (thrown) {
      // Only nesting deeper than the stack gets here; the parser recurses before depth can be counted.
      const what = thrown instanceof RangeError ? 'nested too deeply' : messageOf(thrown);
      this.#push(
        'error',
        'HF1001',
        { line: 1, column: 1 },
        [],
        `not readable as YAML: ${what.slice(0, 200)}`,
      );
      return undefined;
    }
  }

  #convert(node: unknown, path: Path, depth: number): Converted {
    if (depth > DEPTH_MAX) {
      this.#at(node, 'HF1002', path, `nested deeper than ${DEPTH_MAX} levels; nothing here is that deep`);
      return { value: null, nodes: 1 };
    }
    if (isAlias(node)) return this.#expand(node.source, node, path);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, null);
    const converted = this.#convertPlain(node, path, depth);
    if (anchor !== undefined) this.#anchors.set(anchor, converted);
    return converted;
  }

  #convertPlain(node: unknown, path: Path, depth: number): Converted {
    if (isScalar(node)) return { value: this.#scalar(node, path), nodes: 1 };
    if (isMap(node)) return this.#map(node, path, depth);
    if (!isSeq(node)) return { value: null, nodes: 1 };
    this.#refuseTag(node, path);
    const items = node.items.map((item, index) => this.#convert(item, [...path, index], depth + 1));
    return {
      value: items.map(({ value }) => value),
      nodes: items.reduce((sum, item) => sum + item.nodes, 1),
    };
  }

  #expand(name: string, node: unknown, path: Path): Converted {
    const converted = this.#anchors.get(name);
    if (converted === undefined || converted === null) {
      const why =
        converted === null ? `*${name} stands inside what it refers to` : `there is no &${name} above it`;
      this.#at(node, 'HF1003', path, `${why}; write the values out`);
      return { value: null, nodes: 1 };
    }
    this.#aliasNodes += converted.nodes;
    if (this.#aliasNodes > ALIAS_MAX_NODES) {
      this.#at(
        node,
        'HF1003',
        path,
        `aliases expand to more than ${ALIAS_MAX_NODES} values; use a device map instead`,
      );
      return { value: null, nodes: 1 };
    }
    return converted;
  }

  #map(node: YAMLMap, path: Path, depth: number): Converted {
    this.#refuseTag(node, path);
    const value: Record<string, unknown> = {};
    let nodes = 1;
    for (const { key, value: held } of node.items) {
      const name = keyText(key);
      if (name === null) {
        this.#at(key ?? node, 'HF1004', path, 'a key is a list or a map; keys are plain words');
        continue;
      }
      if (name === '<<') {
        this.#at(key, 'HF1005', [...path, name], 'merge keys are not read; use a device map, or defaults');
        continue;
      }
      if (Object.hasOwn(value, name)) {
        this.#at(key, 'HF1006', [...path, name], 'this key is there twice; remove one of them');
        continue;
      }
      const at = [...path, name];
      if (depth < 2) {
        const keyAt = start(key) ?? 0;
        this.#shallow.set(pathText(at), { key: keyAt, value: start(held) ?? keyAt });
      }
      const converted = this.#convert(held, at, depth + 1);
      value[name] = converted.value;
      nodes += converted.nodes;
    }
    return { value, nodes };
  }

  #scalar(node: Scalar, path: Path): unknown {
    if (node.tag === '!file') return this.#secret(String(node.value), node, path);
    this.#refuseTag(node, path);
    const { value, source } = node;
    if (typeof value === 'string') return this.#substitute(value, node, path);
    if (typeof value !== 'number' || source === undefined) return value;
    if (SERIAL_FORMAT.test(source)) return source;
    if (Number.isNaN(value)) return 'nan';
    if (/^[-+]?0\d+$/.test(source)) {
      this.#at(
        node,
        'HF1007',
        path,
        `${source} loses its leading zeros in YAML; write "${source}" in quotes, or ${value}`,
      );
    }
    if (
      Number.isInteger(value) &&
      !Number.isSafeInteger(value) &&
      /^([-+]?\d+|0x[\da-fA-F]+|0o[0-7]+)$/.test(source)
    ) {
      return source.startsWith('-') ? -BigInt(source.slice(1)) : BigInt(source.replace('+', ''));
    }
    return value;
  }

  /** ${NAME}, ${NAME:-default}, and $${ for a plain ${. */
  #substitute(text: string, node: unknown, path: Path): string {
    if (!text.includes('${')) return text;
    this.#substituted.add(pathText(path));
    const found = new Map<string, string>();
    // Behind the last brace nothing is filled in, and looking for one from each place there would take a square of its length.
    const end = text.lastIndexOf('}') + 1;
    const filled = text
      .slice(0, end)
      .replace(
        /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}/g,
        (written: string, name: string, _, fallback?: string) => {
          if (written.startsWith('$$')) return written.slice(1);
          const value = this.#environment[name];
          if (value !== undefined) found.set(value, written);
          if (value !== undefined || fallback !== undefined) return value ?? fallback ?? '';
          this.#at(
            node,
            'HF1008',
            path,
            `the environment has no ${name}; set it, or write \${${name}:-default}`,
          );
          return '';
        },
      );
    const whole = filled + text.slice(end);
    if (found.size > 0) this.#refer(whole, text);
    for (const [value, written] of found) this.#refer(value, written);
    return whole;
  }

  /** !file path: what the file holds, without the line end after it. */
  #secret(path: string, node: unknown, at: Path): string {
    const file = resolve(this.folder, path);
    try {
      const secret = secretIn(file);
      this.#refer(secret, `!file ${path}`);
      this.#files.set(pathText(at), file);
      return secret;
    } catch (thrown) {
      this.#at(node, 'HF1010', at, `!file ${path} cannot be read: ${messageOf(thrown)}`);
      return '';
    }
  }

  #refuseTag(node: Node, path: Path): void {
    if (
      node.tag === undefined ||
      (isMap(node) && node.tag === 'tag:yaml.org,2002:map') ||
      (isSeq(node) && node.tag === 'tag:yaml.org,2002:seq')
    )
      return;
    this.#at(
      node,
      'HF1011',
      path,
      `tag ${node.tag.replace('tag:yaml.org,2002:', '!!')} is not read; !file is the only one`,
    );
  }

  #at(node: unknown, code: string, path: Path, text: string): void {
    const { line, col } = this.#lines.linePos(start(node) ?? 0);
    this.#spoilt.add(pathText(path));
    this.#push('error', code, { line: Math.max(1, line), column: Math.max(1, col) }, path, text);
  }
}

/**
 * The parser takes a time that grows with the square of the depth, and recurses: what is too deep must not reach it. A
 * count of brackets, which sees those in texts as well, decides whether the tokens are worth a look.
 */
function isTooDeep(text: string): boolean {
  let depth = 0;
  let indicators = 0;
  let isSuspect = false;
  for (let at = 0; at < text.length && !isSuspect; at += 1) {
    const sign = text.charCodeAt(at);
    if (sign === 0x5b || sign === 0x7b) depth += 1;
    else if (sign === 0x5d || sign === 0x7d) depth = Math.max(0, depth - 1);
    else if (sign === 0x0a) indicators = 0;
    else if (sign === 0x2d || sign === 0x3f || sign === 0x3a) indicators += 1;
    isSuspect = depth > DEPTH_MAX || indicators > 4 * DEPTH_MAX;
  }
  return isSuspect && isDeepInTokens(text);
}

const BLOCK_INDICATORS: ReadonlySet<string> = new Set(['seq-item-ind', 'explicit-key-ind', 'map-value-ind']);

function isDeepInTokens(text: string): boolean {
  let depth = 0;
  let indicators = 0;
  for (const token of new Lexer().lex(text)) {
    const type = CST.tokenType(token);
    if (type === 'flow-map-start' || type === 'flow-seq-start') depth += 1;
    else if (type === 'flow-map-end' || type === 'flow-seq-end') depth = Math.max(0, depth - 1);
    else if (type === 'newline') indicators = 0;
    else if (depth === 0 && type !== null && BLOCK_INDICATORS.has(type)) indicators += 1;
    if (depth > DEPTH_MAX || indicators > 4 * DEPTH_MAX) return true;
  }
  return false;
}

/** The text of a key as it is written, so that 0x10 and 007 keep their form; null for lists and maps. */
function keyText(key: unknown): string | null {
  if (!isScalar(key)) return key === null ? '' : null;
  return keyOf(key.type === 'PLAIN' && key.source !== undefined ? key.source : String(key.value ?? ''));
}

function start(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
}

/** What the parser says is told with what people do most often to get there. */
function yamlText(message: string, lines: readonly string[], at: number): string {
  const text = message.replace(/\s+/g, ' ').slice(0, 200);
  if (text.includes('multiple documents'))
    return 'a second document begins here; a file holds one, remove the ---';
  return `${text}; ${remedyOf(text, lines, at)}`;
}

function remedyOf(text: string, lines: readonly string[], at: number): string {
  const line = lines[at] ?? '';
  if (/[[{,].*[^"'\w]\$\{/.test(line)) return 'inside { } and [ ] write "${NAME}" in quotes';
  const tab = lines.slice(0, at + 1).findIndex((one) => /^ *\t/.test(one));
  if (tab >= 0) return `line ${tab + 1} is indented by a tab, write spaces`;
  if (/^[ ]*[\u00a0\u2000-\u200b\u3000]/.test(line))
    return `line ${at + 1} is indented by characters that only look like spaces; write spaces`;
  if (/\w\uff1a/.test(line)) return 'write a plain colon and a space, ": ", in place of \uff1a';
  if (/cannot start with/.test(text)) return 'put it in quotes';
  if (/^[\s-]*[\w-]+:[^\s/:]/.test(line)) return 'write a space after the colon';
  if (/not allowed (with)?in (flow|compact)/.test(text) && /:\s.*[^}\]\s]:\s/.test(line))
    return 'put a text with a colon in it in quotes';
  return 'check indentation, quotes and brackets here and above';
}

/** Reads a file that a config names. What starts a gateway or a check may be piped, by who does that. */
export function readNamed(file: string, environment: Environment): Source {
  return isEndless(file) ? unread(file, environment, 'HF1000', NOT_A_FILE) : readSource(file, environment);
}

function unread(file: string, environment: Environment, code: string, text: string): Source {
  const empty = new Source(file, '', environment);
  empty.problems.push({ severity: 'error', file, line: 0, column: 0, code, path: '', text });
  return empty;
}

/** Reads a file; a Source with a problem when it cannot be. */
export function readSource(file: string, environment: Environment): Source {
  try {
    const { size } = statSync(file);
    if (size > FILE_MAX_BYTES)
      return unread(file, environment, 'HF1012', `has ${size} bytes; a file may have 16 MiB`);
    return decoded(file, readFileSync(file), environment);
  } catch (thrown) {
    return unread(file, environment, 'HF1000', `cannot be read: ${whyUnreadable(thrown)}`);
  }
}

function whyUnreadable(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : '';
  if (code === 'ENOENT') return "there is no such file; 'holdfast init' makes one";
  if (code === 'EISDIR') return 'it is a folder; name the file in it';
  if (code === 'EACCES') return 'this user may not; give it the right, or run as the one who has it';
  return messageOf(thrown);
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

/** A text in another encoding is not guessed at: what is not ASCII in it would come out as something else. */
function decoded(file: string, bytes: Uint8Array, environment: Environment): Source {
  try {
    return new Source(file, strict.decode(bytes), environment);
  } catch {
    const source = new Source(file, '', environment);
    const lines = new TextDecoder().decode(bytes).split('\n');
    const line = lines.findIndex((text) => text.includes('\ufffd'));
    const column = (lines[line]?.indexOf('\ufffd') ?? 0) + 1;
    const text = 'is not UTF-8 here; save the file as UTF-8';
    source.problems.push({ severity: 'error', file, line: line + 1, column, code: 'HF1014', path: '', text });
    return source;
  }
}
