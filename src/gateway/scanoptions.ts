/** What a scan is asked to try, in words -> a list of units and line settings, the likely ones first. */
import type { Bus } from '../config/plant.js';
import type { Signature } from '../config/signature.js';
import { parseDuration, parseNumbers } from '../config/units.js';
import { HoldfastError } from '../errors.js';
import type { LineSetting, ScanOptions } from '../poller/scan.js';

/** As the command line and req/scan give it; absent: what is usual. */
export interface ScanWords {
  /** As in "1-32,40". */
  readonly units?: string | undefined;
  /** As in "9600,19200". */
  readonly baud?: string | undefined;
  /** As in "8N1,8E1". */
  readonly format?: string | undefined;
  /** As in "200ms". */
  readonly timeout?: string | undefined;
  readonly stopAfter?: number | undefined;
  readonly isThorough?: boolean | undefined;
}

/** What lines are mostly set to, most common first. */
const LIKELY: readonly LineSetting[] = [
  { baud: 9600, format: '8N1' },
  { baud: 19_200, format: '8E1' },
  { baud: 9600, format: '8E1' },
  { baud: 19_200, format: '8N1' },
  { baud: 115_200, format: '8N1' },
  { baud: 4800, format: '8N1' },
  { baud: 38_400, format: '8N1' },
  { baud: 57_600, format: '8N1' },
  { baud: 2400, format: '8N1' },
];
const UNIT_MAX = 247;
/** There are not so many that a line is ever set to. */
const BAUDS_MAX = 64;
/** Devices think so long at most before they answer; a network adds its way. */
const LINE_TIMEOUT_MS = 100;
const NETWORK_TIMEOUT_MS = 500;

export function scanOptionsOf(bus: Bus, words: ScanWords, maps: readonly Signature[] = []): ScanOptions {
  const isSerial = 'path' in bus.link;
  const units = parseNumbers(words.units ?? `1-${UNIT_MAX}`);
  if (units === null || units.length === 0 || units.some((unit) => unit > 255))
    throw new HoldfastError(
      'TYPE',
      {},
      `units "${words.units}" are not numbers up to 255; write 1-32 or 1,2,7`,
    );
  const usual = isSerial ? LINE_TIMEOUT_MS : NETWORK_TIMEOUT_MS;
  const timeoutMs = words.timeout === undefined ? usual : parseDuration(words.timeout);
  if (timeoutMs === null || timeoutMs < 1 || timeoutMs > 60_000)
    throw new HoldfastError('TYPE', {}, `timeout "${words.timeout}" is no duration up to 60s; write 200ms`);
  return {
    units,
    settings: isSerial ? settingsOf(bus, words) : [],
    timeoutMs,
    stopAfter: words.stopAfter ?? Infinity,
    isThorough: words.isThorough ?? false,
    maps,
  };
}

/** What is asked for in full, else the likely ones, with what the bus is set to in front. */
function settingsOf({ link }: Bus, { baud, format }: ScanWords): LineSetting[] {
  const own: LineSetting[] =
    'path' in link
      ? [
          {
            baud: link.baud,
            format: `${link.dataBits}${link.parity.charAt(0).toUpperCase()}${link.stopBits}`,
          },
        ]
      : [];
  // Of each once, before all are put together: a text of a few bytes each would be so many lines squared.
  const bauds = baud === undefined ? undefined : [...new Set(baud.split(',').map(Number))];
  if (bauds?.some((one) => !Number.isInteger(one) || one < 110 || one > 4_000_000))
    throw new HoldfastError('TYPE', {}, `baud "${baud}" are no rates; write 9600,19200`);
  if (bauds !== undefined && bauds.length > BAUDS_MAX)
    throw new HoldfastError('TYPE', {}, `more than ${BAUDS_MAX} rates take days; write the likely ones`);
  const formats = format === undefined ? undefined : [...new Set(format.toUpperCase().split(','))];
  if (formats?.some((one) => !/^[78][NEO][12]$/.test(one)))
    throw new HoldfastError('TYPE', {}, `format "${format}" are no formats; write 8N1,8E1`);
  const wanted =
    bauds !== undefined && formats !== undefined
      ? bauds.flatMap((one) => formats.map((other) => ({ baud: one, format: other })))
      : bauds !== undefined
        ? bauds.flatMap((one) => ['8N1', '8E1', '8O1'].map((other) => ({ baud: one, format: other })))
        : [...own, ...LIKELY].filter((one) => formats === undefined || formats.includes(one.format));
  const keys = new Set<string>();
  return wanted.filter((one) => {
    const key = `${one.baud} ${one.format}`;
    const isNew = !keys.has(key);
    keys.add(key);
    return isNew;
  });
}

/** Said of a device map beside the file that could not be tried. */
export function wrongMapText(file: string): string {
  return `${file} is wrong and was not tried; holdfast check --map ${file} tells why`;
}
