/** The bridges of a mosquitto.conf as the uplinks of a gateway file, for `holdfast import`. */
import { importBridges } from '../config/mosquittobridge.js';
import { flowText } from './taginput.js';

/** A line that only a bridge of mosquitto has. */
const CONNECTION = /^\s*connection\s+\S/m;

export function isMosquittoConf(text: string): boolean {
  return CONNECTION.test(text);
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
