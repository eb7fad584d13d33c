/**
 * The log: one JSON object a line on stderr, readable text on a terminal. Fields use the same names as an error's
 * subject. Text that came from outside is cut, so that no client can flood or forge lines.
 */
import { pino } from 'pino';
import { type Subject, withoutPasswords } from './errors.js';

export type Level = 'debug' | 'info' | 'warn' | 'error';

export interface Fields extends Subject {
  code?: string;
  error?: string;
  [field: string]: unknown;
}

export interface Log {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

/** Longest text of one field, in UTF-16 units; the rest is cut and marked. */
const TEXT_MAX = 512;

/** Bytes that may wait for a reader of the log who does not read; what comes then is dropped and counted. */
const BACKLOG_MAX_BYTES = 1024 * 1024;

/** A log that writes to the given sink, one line a call. */
export function createLog(level: Level = 'info', sink: NodeJS.WritableStream = process.stderr): Log {
  const isTerminal = 'isTTY' in sink && sink.isTTY === true;
  const lines = new Lines(sink, isTerminal ? readable : (line) => line);
  const logger = pino(
    {
      level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":${Date.now()}`,
    },
    lines,
  );
  const at =
    (name: Level) =>
    (message: string, fields: Fields = {}): void =>
      logger[name](cutAll(fields), message);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/**
 * Writes lines as long as they are taken: a reader that stopped or went away, and a disk that is full, cost lines, never
 * memory, time or the process.
 */
class Lines {
  readonly #sink: NodeJS.WritableStream;
  readonly #form: (line: string) => string;
  #dropped = 0;

  constructor(sink: NodeJS.WritableStream, form: (line: string) => string) {
    this.#sink = sink;
    this.#form = form;
    // Each write tells its own.
    sink.on('error', () => {});
  }

  write(line: string): void {
    if (this.#backlog() > BACKLOG_MAX_BYTES) {
      this.#dropped += 1;
      return;
    }
    const count = this.#dropped;
    if (count > 0) {
      const told = { level: 'warn', time: Date.now(), count, msg: 'log lines were dropped' };
      this.#dropped = 0;
      this.#send(`${JSON.stringify(told)}\n`, count);
    }
    this.#send(line, 1);
  }

  /** How many lines are lost when this one is not taken. */
  #send(line: string, count: number): void {
    this.#sink.write(this.#form(line), (error) => {
      if (error) this.#dropped += count;
    });
  }

  #backlog(): number {
    return 'writableLength' in this.#sink ? Number(this.#sink.writableLength) : 0;
  }
}

/** A log that drops everything. */
export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** An empty text says nothing and is left out. */
function cutAll(fields: Fields): Fields {
  const cut: Fields = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== '') cut[name] = typeof value === 'string' ? shown(value) : value;
  }
  return cut;
}

/** What terminals obey; JSON escapes the others of that kind itself. */
const OBEYED = /[\x7f-\x9f\p{Bidi_Control}]/gu;

/** Text from devices and clients, with what a terminal would obey escaped as in JSON. */
export function visible(text: string, obeyed = /[\p{Cc}\p{Bidi_Control}]/gu): string {
  return text.replace(obeyed, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function shown(text: string): string {
  // Half a password would not be known as one, so what is cut off is looked at, too.
  const whole = withoutPasswords(text.length > TEXT_MAX ? text.slice(0, TEXT_MAX * 2) : text);
  return visible(text.length > TEXT_MAX ? `${whole.slice(0, TEXT_MAX)}…` : whole, OBEYED);
}

function readable(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clock = new Date(time as number).toISOString().slice(11, 23);
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${clock} ${String(level).padEnd(5)} ${[String(msg), ...rest].join('  ')}\n`;
}
