/** The scenario by mosquitto_pub and mosquitto_sub, one process a client. */
import { spawn, type ChildProcess } from 'node:child_process';
import { until, within } from '../support/wait.js';
import { prefixed, stepsOf, type Driver, type Die, type Listen, type Properties, type Publication, type Seen } from './scenario.js'; // prettier-ignore

interface Run {
  readonly common: readonly string[];
  readonly version: 4 | 5;
  readonly prefix: string;
}

const FORMAT = '>%q|%r|%F|%C|%R|%D|%S|%P|%t|%p<';

export const mosquittoClients: Driver = {
  name: 'mosquitto clients',
  async run(host, port, version, prefix) {
    const common = ['-h', host, '-p', `${port}`, '-V', version === 5 ? '5' : '311'];
    const run: Run = { common, version, prefix };
    const seen: Seen[][] = [];
    for (const step of stepsOf(version)) {
      if (step.do === 'listen') seen.push(await listen(run, step));
      if (step.do === 'publish') await publish(run, step.publications);
    }
    return seen;
  },
};

async function listen(run: Run, step: Listen): Promise<Seen[]> {
  const isFive = run.version === 5;
  const { child, text } = start('mosquitto_sub', [
    ...run.common,
    '-d',
    ...['-i', `${run.prefix}-${step.client}`, '-q', `${step.qos}`, '-F', FORMAT],
    ...(step.keepS > 0 ? ['-c'] : []),
    ...(isFive && step.keepS > 0 ? ['-x', `${step.keepS}`] : []),
    ...(isFive && step.retainAsPublished === true ? ['--retain-as-published'] : []),
    // mosquitto_sub knows no Retain Handling; it can leave the retained messages unsaid.
    ...(isFive && step.retainHandling === 2 ? ['-R'] : []),
    ...(isFive && step.identifier !== undefined ? ['-D', 'subscribe', 'subscription-identifier', `${step.identifier}`] : []), // prettier-ignore
    ...[...(step.dropped ?? []), ...step.filters].flatMap((filter) => ['-t', prefixed(run.prefix, filter)]),
    ...(step.dropped ?? []).flatMap((filter) => ['-U', prefixed(run.prefix, filter)]),
  ]);
  await until('the subscription', () => text().includes('Subscribed (mid') && (step.dropped === undefined || text().includes('received UNSUBACK'))); // prettier-ignore
  for (const inner of step.meanwhile)
    await (inner.do === 'publish' ? publish(run, inner.publications) : die(run, inner));
  const seen = () => [...text().matchAll(/^>(.*)<$/gm)].map(([, line = '']) => seenOf(run, line));
  const isComplete = () => {
    if (seen().length < step.sees.length) return false;
    // Without the last answer sent, QoS 2 would be open.
    const two = step.sees.filter(({ qos }) => qos === 2).length;
    return text().split('sending PUBCOMP').length - 1 >= two;
  };
  await until(`${step.sees.length} messages for ${step.client}: ${text()}`, isComplete);
  child.kill('SIGINT');
  await ended(child);
  return seen();
}

async function publish(run: Run, publications: readonly Publication[]): Promise<void> {
  for (const { topic, payload, qos, retain = false, properties } of publications) {
    const { child } = start('mosquitto_pub', [
      ...run.common,
      ...['-t', prefixed(run.prefix, topic), '-q', `${qos}`],
      ...(payload === '' ? ['-n'] : ['-m', payload]),
      ...(retain ? ['-r'] : []),
      ...argumentsFor(properties),
    ]);
    await ended(child);
  }
}

async function die(run: Run, { will, isPolite }: Die): Promise<void> {
  const { child, text } = start('mosquitto_sub', [
    ...run.common,
    ...['-d', '-t', `${run.prefix}/nothing`],
    ...['--will-topic', prefixed(run.prefix, will.topic), '--will-payload', will.payload],
    ...['--will-qos', `${will.qos}`, ...(will.retain === true ? ['--will-retain'] : [])],
    // It leaves with DISCONNECT 0x00 once subscribed; after a signal it would be 0x04 in MQTT 5.
    ...(isPolite ? ['-E'] : []),
  ]);
  await until('the subscription', () => text().includes('Subscribed (mid'));
  if (!isPolite) child.kill('SIGKILL');
  await ended(child);
}

function argumentsFor(properties: Properties = {}): string[] {
  const { userProperties = [], contentType, responseTopic, correlationData, payloadFormat } = properties;
  const property = (name: string, ...values: readonly string[]): string[] => ['-D', 'publish', name, ...values]; // prettier-ignore
  return [
    ...userProperties.flatMap(([name, value]) => property('user-property', name, value)),
    ...(contentType === undefined ? [] : property('content-type', contentType)),
    ...(responseTopic === undefined ? [] : property('response-topic', responseTopic)),
    ...(correlationData === undefined ? [] : property('correlation-data', correlationData)),
    ...(payloadFormat === undefined ? [] : property('payload-format-indicator', `${payloadFormat}`)),
  ];
}

function seenOf(run: Run, line: string): Seen {
  const [qos, retain, format, contentType, responseTopic, correlationData, identifier, users, topic = '', payload = ''] = line.split('|'); // prettier-ignore
  const message: Seen = { topic: topic.slice(run.prefix.length + 1), payload, qos: Number(qos), retain: retain === '1' }; // prettier-ignore
  const pairs = [...(users ?? '').matchAll(/(\S+):(\S+)/g)].map(([, name = '', value = '']): [string, string] => [name, value]); // prettier-ignore
  const told: Properties = {
    ...(pairs.length === 0 ? {} : { userProperties: pairs }),
    ...(contentType === '' || contentType === undefined ? {} : { contentType }),
    ...(responseTopic === '' || responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === '' || correlationData === undefined ? {} : { correlationData }),
    ...(format === '' || format === undefined ? {} : { payloadFormat: Number(format) }),
  };
  return {
    ...message,
    ...(run.version === 4 || Object.keys(told).length === 0 ? {} : { properties: told }),
    ...(run.version === 4 || identifier === '' ? {} : { identifier: Number(identifier) }),
  };
}

function start(command: string, args: readonly string[]): { child: ChildProcess; text: () => string } {
  const child = spawn('stdbuf', ['-oL', command, ...args]);
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (text += bytes.toString()));
  return { child, text: () => text };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await within('a mosquitto client to end', new Promise((resolve) => child.once('close', resolve)));
}
