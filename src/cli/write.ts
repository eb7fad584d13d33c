/** `holdfast write`: one value into a device, read back. */
import { askYesNo, endQuestions } from './ask.js';
import { BROKER_OPTIONS } from './brokerlink.js';
import { targetOf, timeoutOf } from './read.js';
import { exitCodeOf, nextStepOf, reachOf } from './reach.js';
import { isUrl } from './target.js';
import { EXIT, UsageError, type Context, type Verb, VerbError } from './verb.js';

export const verb: Verb = {
  name: 'write',
  summary: 'write one value into a device, and read it back',
  arguments: 'DEVICE NAME VALUE',
  argumentHelp: [
    { name: 'DEVICE', description: 'its name in the gateway file, or a URL as with holdfast read' },
    { name: 'NAME', description: 'a tag, or a register such as holding:10 or coil:3' },
    { name: 'VALUE', description: 'a number, true, false, or a text; -- before a negative number' },
  ],
  options: [
    ...BROKER_OPTIONS,
    { flags: '--order ORDER', description: 'of a register at a URL: ABCD, CDAB, BADC, DCBA' },
    { flags: '--scale FACTOR', description: 'of a register at a URL' },
    { flags: '--timeout DURATION', description: 'how long to wait', default: '5s' },
    { flags: '--direct', description: 'not through a running gateway, though it may hold the line' },
    { flags: '-y, --yes', description: 'do not ask; nobody is asked where there is no terminal' },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'write -c holdfast.yaml press1 setpoint 55', meaning: 'shows the old value and asks' },
    { command: 'write -y tcp://10.0.0.5/1 coil:3 true', meaning: 'at once' },
    { command: 'write tcp://10.0.0.5/1 holding:10:float32 -- -1.5', meaning: 'a negative number' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { args, options, stdout } = context;
  const [device, name, value, ...rest] = args;
  if (device === undefined || name === undefined || value === undefined || rest.length > 0)
    throw new UsageError("write what? 'holdfast write -c holdfast.yaml press1 setpoint 55'");
  const timeoutMs = timeoutOf(context);
  const target = await targetOf(context, device, [name], true);
  const [wanted, another] = target.wanted;
  if (wanted === undefined || another !== undefined) throw new UsageError(`${name} is more than one value; write one at a time`);
  const { tag } = wanted;
  if (tag.write === null) {
    const why = isUrl(device) ? 'its table can only be read' : 'its config does not say write:';
    throw new VerbError(EXIT.notAllowed, `${device} ${name} cannot be written: ${why}`);
  }
  const json = jsonOf(value);
  const reach = await reachOf(context, target, isUrl(device) || options['direct'] === true);
  try {
    if (context.canAsk && options['yes'] !== true) {
      const old = await reach.read(tag, timeoutMs);
      const now = old.code === 'OK' ? old.text : `unknown (${old.text})`;
      if (!(await askYesNo(`${device} ${name} is ${now}; write ${value}?`, false, context))) {
        throw new VerbError(EXIT.failed, 'nothing was written');
      }
    }
    const outcome = await reach.write(tag, json, timeoutMs);
    const { code, text } = outcome;
    if (code !== 'OK' && options['json'] === true)
      stdout.write(`${JSON.stringify({ name, ok: false, code, error: text })}\n`);
    if (code !== 'OK')
      throw new VerbError(exitCodeOf(code), `${device} ${name}: ${code} ${text}; ${nextStepOf(outcome, tag)}`);
    stdout.write(
      options['json'] === true ? `{"name":${JSON.stringify(name)},"ok":true,"v":${text}}\n` : `${name} ${text}\n`,
    );
    return EXIT.ok;
  } finally {
    endQuestions();
    await reach.close();
  }
} // prettier-ignore

/** As JSON: numbers with every digit, truths, and everything else as text. */
function jsonOf(value: string): string {
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(value) || value === 'true' || value === 'false')
    return value;
  return /^0x[\da-f]+$/i.test(value) ? String(Number(value)) : JSON.stringify(value);
}
