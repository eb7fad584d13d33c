/** `holdfast sub`: messages of a broker as they come. */
import type { RemoteMessage } from '../uplink/client.js';
import { BROKER_OPTIONS, BrokerLink, plantOf } from './brokerlink.js';
import { EXIT, numberOption, UsageError, type Context, type Verb, VerbError } from './verb.js';

export const verb: Verb = {
  name: 'sub',
  summary: 'subscribe to topics and print what comes',
  arguments: 'FILTER...',
  argumentHelp: [{ name: 'FILTER', description: 'a topic, with + for one level and # for all below' }],
  options: [
    ...BROKER_OPTIONS,
    { flags: '-q, --qos QOS', description: '0, 1 or 2', default: '0' },
    { flags: '-n, --count NUMBER', description: 'end after so many messages' },
    { flags: '--jsonl', description: 'one JSON object a message, with QoS and retain' },
  ],
  examples: [
    { command: "sub 'holdfast/+/data/#'", meaning: 'every value, as it changes' },
    { command: "sub -n 1 'holdfast/+/status'", meaning: 'one message, then end' },
    { command: "sub --jsonl --url mqtt://10.0.0.5 '#'", meaning: 'of a broker elsewhere' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { args, options, stdout, interrupted } = context;
  if (args.length === 0) throw new UsageError("which topics? 'holdfast sub holdfast/+/data/#'");
  const qos = (numberOption(options, 'qos', 0, 2) ?? 0) as 0 | 1 | 2;
  let left = numberOption(options, 'count', 1, 1e9) ?? Infinity;
  const link = await BrokerLink.open(context, await plantOf(context));
  const print = options['jsonl'] === true ? jsonOf : textOf;
  try {
    let enough: () => void = () => {};
    const isEnough = new Promise<null>((resolve) => (enough = () => resolve(null)));
    interrupted.addEventListener('abort', enough, { once: true });
    for (const filter of args)
      await link.subscribe(filter, qos, (message) => {
        if (left <= 0) return;
        stdout.write(`${print(message)}\n`);
        left -= 1;
        if (left <= 0) enough();
      });
    const reason = await Promise.race([isEnough, link.closed]);
    if (reason !== null)
      throw new VerbError(EXIT.refused, `${link.url} closed the connection (${reason}); run it again`);
    return EXIT.ok;
  } finally {
    await link.close();
  }
}

function textOf({ topic, payload }: RemoteMessage): string {
  return `${topic} ${Buffer.from(payload).toString()}`;
}

/** A payload that is no text is given in base64. */
function jsonOf({ topic, payload, qos, retain }: RemoteMessage): string {
  const bytes = Buffer.from(payload);
  const text = bytes.toString();
  const isText = Buffer.from(text).equals(bytes);
  const body = isText ? { payload: text } : { base64: bytes.toString('base64') };
  return JSON.stringify({ topic, ...body, qos, retain, t: Date.now() });
}
