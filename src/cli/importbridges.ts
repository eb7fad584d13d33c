/** The bridges of a mosquitto.conf as the uplinks of a gateway file, for `holdfast import`. */
import { importBridges } from '../config/mosquittobridge.js';
import { flowText } from './taginput.js';

/** Lines that mosquitto.conf has: of a bridge, and what nearly each of them says. */
const SAYINGS =
  /^(connection|listener|allow_anonymous|password_file|acl_file|persistence|include_dir|per_listener_settings|log_dest) +\S/m;
/** How each of its lines is: a word, and what belongs to it. The first line of a list names columns. */
const LINE = /^\s*[a-z][a-z0-9_]*( .*)?$/;

export function isMosquittoConf(text: string): boolean {
  const first = text.split(/\r?\n/).find((line) => /^\s*[^#\s]/.test(line)) ?? '';
  return LINE.test(first) && SAYINGS.test(text);
}

export interface ImportedUplinks {
  readonly names: readonly string[];
  /** What stands in a gateway file. */
  readonly text: string;
  /** What was left out, line by line. */
  readonly notes: readonly string[];
}

export function uplinksOf(conf: string, file: string): ImportedUplinks {
  const { bridges, notes } = importBridges(conf, file);
  const lines = bridges.flatMap(({ name, uplink }) => [
    `  ${name}:`,
    ...Object.entries(uplink).flatMap(([key, value]) => settingLines(key, value)),
  ]);
  return {
    names: bridges.map(({ name }) => name),
    text: `${['uplinks:', ...lines].join('\n')}\n`,
    notes,
  };
}

/** Rules one a line, everything else in one. */
function settingLines(key: string, value: unknown): string[] {
  const isRules = key === 'out' || key === 'in';
  if (!isRules || !Array.isArray(value)) return [`    ${key}: ${flowText(value)}`];
  return [`    ${key}:`, ...value.map((rule) => `      - ${flowText(rule)}`)];
}
