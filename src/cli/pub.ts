/** `holdfast pub`: one message to a broker. */
import { text } from 'node:stream/consumers';
import { BROKER_OPTIONS, BrokerLink, plantOf } from './brokerlink.js';
import { EXIT, numberOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'pub',
  summary: 'publish one message',
  arguments: 'TOPIC [MESSAGE]',
  argumentHelp: [
    { name: 'TOPIC', description: 'where to' },
    { name: 'MESSAGE', description: 'the payload; without one it is read from stdin' },
  ],
  options: [
    ...BROKER_OPTIONS,
    { flags: '-q, --qos QOS', description: '0, 1 or 2; the verb ends when the broker has it', default: '1' },
    { flags: '-r, --retain', description: 'kept for who subscribes later; an empty message removes it' },
  ],
  examples: [
    { command: 'pub plant/hello world', meaning: 'to the broker of this machine' },
    { command: 'pub holdfast/plant-7/set/press1/setpoint 55', meaning: 'a command to a device' },
    { command: 'pub -r plant/note < note.txt', meaning: 'from stdin, retained' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { args, options, stdin } = context;
  const [topic, message] = args;
  if (topic === undefined) throw new UsageError("which topic? 'holdfast pub plant/hello world'");
  if (/[+#]/.test(topic))
    throw new UsageError(`${topic} is a filter; a message goes to one topic without + and #`);
  if (message === undefined && context.canAsk)
    throw new UsageError("which message? 'holdfast pub TOPIC MESSAGE', or pipe it in");
  const qos = (numberOption(options, 'qos', 0, 2) ?? 1) as 0 | 1 | 2;
  const payload = Buffer.from(message ?? (await text(stdin)));
  const link = await BrokerLink.open(context, await plantOf(context));
  try {
    await link.publish(topic, payload, qos, options['retain'] === true);
    return EXIT.ok;
  } finally {
    await link.close();
  }
}
