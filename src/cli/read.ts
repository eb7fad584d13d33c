/** `holdfast read`: values of a device, now. */
import { BROKER_OPTIONS, plantOf } from './brokerlink.js';
import type { Outcome } from './field.js';
import { columns, type Paint, paintOf } from './paint.js';
import { plausibleAmong } from './plausible.js';
import { exitCodeOf, nextStepOf, reachOf } from './reach.js';
import { isUrl, type Target, targetOfNames, targetOfUrl, type Wanted } from './target.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';
import { parseDuration } from '../config/units.js';
import { visible } from '../log.js';

const TIMEOUT_MS = 5000;

export const verb: Verb = {
  name: 'read',
  summary: 'read values of a device, now',
  arguments: 'DEVICE [NAME...]',
  argumentHelp: [
    { name: 'DEVICE', description: 'its name in the gateway file, or a URL such as tcp://10.0.0.5:502/1 or rtu:///dev/ttyUSB0?baud=9600&format=8N1&unit=7' },
    { name: 'NAME', description: 'tags; of a URL: TABLE:ADDRESS[-LAST][:TYPE][:ORDER] counted from 0 (holding, input, coil, discrete), or references such as 40001:float32' },
  ],
  options: [
    ...BROKER_OPTIONS,
    { flags: '--order ORDER', description: 'ABCD, CDAB, BADC, DCBA; all shows each, the plausible ones marked' },
    { flags: '--scale FACTOR', description: 'of registers at a URL' },
    { flags: '--timeout DURATION', description: 'how long to wait', default: '5s' },
    { flags: '--direct', description: 'not through a running gateway, though it may hold the line' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'read -c holdfast.yaml press1', meaning: 'all of a device' },
    { command: 'read -c holdfast.yaml meter1 power energy', meaning: 'some tags' },
    { command: 'read tcp://10.0.0.5/1 holding:0-9', meaning: 'ten registers' },
    { command: 'read tcp://10.0.0.5/1 40001:float32 --order all', meaning: 'which word order is it?' },
    { command: "read 'rtu:///dev/ttyUSB0?baud=9600&unit=7' input:0:float32", meaning: 'on a serial line' },
  ],
  run,
}; // prettier-ignore

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const [device, ...names] = args;
  if (device === undefined) throw new UsageError("which device? 'holdfast read -c holdfast.yaml press1', or a URL");
  const timeoutMs = timeoutOf(context);
  const target = await targetOf(context, device, names, false);
  const reach = await reachOf(context, target, isUrl(device) || options['direct'] === true);
  try {
    const outcomes: (Wanted & { outcome: Outcome })[] = [];
    for (const wanted of target.wanted) outcomes.push({ ...wanted, outcome: await reach.read(wanted.tag, timeoutMs) });
    const isAll = textOption(options, 'order')?.toLowerCase() === 'all' || names.some((name) => /:all$/i.test(name));
    const plausible = isAll ? plausibleAmong(outcomes.map(({ tag, outcome }) => ({ tag, json: outcome.code === 'OK' ? outcome.text : null }))) : null;
    if (options['json'] === true) stdout.write(`${jsonOf(outcomes, plausible)}\n`);
    else for (const line of textOf(outcomes, plausible, paintOf(context))) stdout.write(`${line}\n`);
    const failed = outcomes.find(({ outcome }) => outcome.code !== 'OK');
    if (failed === undefined) return EXIT.ok;
    const { code, text } = failed.outcome;
    stderr.write(`holdfast: ${device} ${failed.label}: ${text}; ${nextStepOf(failed.outcome, failed.tag)}\n`);
    return exitCodeOf(code);
  } finally {
    await reach.close();
  }
} // prettier-ignore

/** By name or URL, as read and write take it. */
export async function targetOf(context: Context, device: string, names: readonly string[], isWrite: boolean): Promise<Target> {
  const { options } = context;
  if (isUrl(device)) {
    const order = textOption(options, 'order');
    const scale = textOption(options, 'scale');
    const timeout = textOption(options, 'timeout');
    if (scale !== undefined && !Number.isFinite(Number(scale))) throw new UsageError(`--scale ${scale} is no number`);
    return targetOfUrl(device, names, {
      write: isWrite,
      ...(order === undefined ? {} : { order }),
      ...(scale === undefined ? {} : { scale }),
      ...(timeout === undefined || parseDuration(timeout) === TIMEOUT_MS ? {} : { timeout }),
    });
  }
  const plant = await plantOf(context);
  if (plant === null)
    throw new UsageError(`where is ${device}? name its gateway file with --config, or write a URL such as ${urlLike(device)}`);
  return targetOfNames(plant, device, names);
} // prettier-ignore

function urlLike(device: string): string {
  return device.startsWith('/') ? `rtu://${device}?unit=1` : 'tcp://10.0.0.5/1';
}

export function timeoutOf({ options }: Context): number {
  const text = textOption(options, 'timeout') ?? '5s';
  const ms = parseDuration(text);
  if (ms === null || ms <= 0) throw new UsageError(`--timeout ${text} is no duration; write 500ms or 5s`);
  return ms;
}

type Read = Wanted & { readonly outcome: Outcome };

function textOf(reads: readonly Read[], plausible: ReadonlySet<number> | null, paint: Paint): string[] {
  return columns(
    reads.map(({ label, tag, outcome }, at) => {
      if (outcome.code !== 'OK') return [label, paint('red', `${outcome.code} ${outcome.text}`)];
      const words = [shown(outcome.text), tag.unit ?? '', plausible?.has(at) === true ? paint('green', '<- plausible') : ''];
      return [label, words.filter((word) => word !== '').join(' ')];
    }),
  );
} // prettier-ignore

/** As it is published; a text needs no quotes. */
function shown(json: string): string {
  return json.startsWith('"') ? visible(String(JSON.parse(json))) : json;
}

/** Values are put in as they came, so that a number keeps every digit. */
function jsonOf(reads: readonly Read[], plausible: ReadonlySet<number> | null): string {
  const rows = reads.map(({ label, tag, outcome }, at) => {
    const name = `"name":${JSON.stringify(label)}`;
    if (outcome.code !== 'OK')
      return `  {${name},"ok":false,"code":${JSON.stringify(outcome.code)},"error":${JSON.stringify(outcome.text)}}`;
    const unit = tag.unit === null ? '' : `,"unit":${JSON.stringify(tag.unit)}`;
    const mark = plausible === null ? '' : `,"plausible":${plausible.has(at)}`;
    return `  {${name},"ok":true,"v":${outcome.text}${unit}${mark}}`;
  });
  return `[\n${rows.join(',\n')}\n]`;
}
