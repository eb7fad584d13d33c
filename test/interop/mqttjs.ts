/** The scenario by MQTT.js. */
import {
  connect,
  connectAsync,
  type IClientPublishOptions,
  type IPublishPacket,
  type MqttClient,
} from 'mqtt';
import { until, within } from '../support/wait.js';
import { prefixed, stepsOf, type Driver, type Die, type Listen, type Properties, type Publication, type Seen } from './scenario.js'; // prettier-ignore

interface Run {
  readonly url: string;
  readonly version: 4 | 5;
  readonly prefix: string;
}

export const mqttJs: Driver = {
  name: 'MQTT.js',
  async run(host, port, version, prefix) {
    const run: Run = { url: `mqtt://${host}:${port}`, version, prefix };
    const seen: Seen[][] = [];
    for (const step of stepsOf(version)) {
      if (step.do === 'listen') seen.push(await listen(run, step));
      if (step.do === 'publish') await publish(run, step.publications);
    }
    return seen;
  },
};

async function listen(run: Run, step: Listen): Promise<Seen[]> {
  const seen: Seen[] = [];
  const client = connect(run.url, {
    protocolVersion: run.version,
    reconnectPeriod: 0,
    clientId: `${run.prefix}-${step.client}`,
    clean: step.keepS === 0,
    ...(run.version === 5 && step.keepS > 0 ? { properties: { sessionExpiryInterval: step.keepS } } : {}),
  });
  client.on('message', (topic, payload, packet) =>
    seen.push(seenOf(run, topic.slice(run.prefix.length + 1), payload, packet)),
  );
  // Waiting messages may come in one segment with CONNACK, so their listener was there first.
  await within('CONNACK', new Promise<void>((resolve) => client.once('connect', () => resolve())));
  for (const filter of [...(step.dropped ?? []), ...step.filters]) await subscribe(run, client, step, filter);
  for (const filter of step.dropped ?? []) await client.unsubscribeAsync(prefixed(run.prefix, filter));
  for (const inner of step.meanwhile)
    await (inner.do === 'publish' ? publish(run, inner.publications) : die(run, inner));
  await until(`${step.sees.length} messages for ${step.client}, not ${JSON.stringify(seen)}`, () => seen.length >= step.sees.length); // prettier-ignore
  await client.endAsync();
  return seen;
}

async function subscribe(run: Run, client: MqttClient, step: Listen, filter: string): Promise<void> {
  const { qos, retainAsPublished: rap, retainHandling: rh, identifier } = step;
  const options = {
    qos,
    ...(run.version === 5 && rap !== undefined ? { rap } : {}),
    ...(run.version === 5 && rh !== undefined ? { rh } : {}),
    ...(run.version === 5 && identifier !== undefined
      ? { properties: { subscriptionIdentifier: identifier } }
      : {}),
  };
  await client.subscribeAsync(prefixed(run.prefix, filter), options);
}

async function publish(run: Run, publications: readonly Publication[]): Promise<void> {
  const client = await connectAsync(run.url, { protocolVersion: run.version, reconnectPeriod: 0 });
  for (const { topic, payload, qos, retain = false, properties } of publications) {
    const options: IClientPublishOptions = { qos, retain };
    if (properties !== undefined) options.properties = propertiesFor(properties);
    await client.publishAsync(prefixed(run.prefix, topic), payload, options);
  }
  await client.endAsync();
}

async function die(run: Run, { will, isPolite }: Die): Promise<void> {
  const client = await connectAsync(run.url, {
    protocolVersion: run.version,
    reconnectPeriod: 0,
    will: {
      topic: prefixed(run.prefix, will.topic),
      payload: Buffer.from(will.payload),
      qos: will.qos,
      retain: will.retain ?? false,
    },
  });
  client.on('error', () => {});
  if (isPolite) await client.endAsync();
  else client.stream.destroy();
}

/** User properties of one name are a list in MQTT.js, which keeps their order within the name only. */
function propertiesFor(properties: Properties): NonNullable<IClientPublishOptions['properties']> {
  const { userProperties = [], contentType, responseTopic, correlationData, payloadFormat } = properties;
  const users: Record<string, string[]> = {};
  for (const [name, value] of userProperties) (users[name] ??= []).push(value);
  return {
    userProperties: users,
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData) }),
    ...(payloadFormat === undefined ? {} : { payloadFormatIndicator: payloadFormat === 1 }),
  };
}

function seenOf(run: Run, topic: string, payload: Buffer, packet: IPublishPacket): Seen {
  const message: Seen = { topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain };
  const { properties } = packet;
  if (run.version === 4 || properties === undefined) return message;
  const { userProperties = {}, contentType, responseTopic, correlationData, payloadFormatIndicator, subscriptionIdentifier } = properties; // prettier-ignore
  const users = Object.entries(userProperties).flatMap(([name, values]) => [values].flat().map((value): [string, string] => [name, value])); // prettier-ignore
  const told: Properties = {
    ...(users.length === 0 ? {} : { userProperties: users }),
    ...(contentType === undefined ? {} : { contentType }),
    ...(responseTopic === undefined ? {} : { responseTopic }),
    ...(correlationData === undefined ? {} : { correlationData: correlationData.toString() }),
    ...(payloadFormatIndicator === undefined ? {} : { payloadFormat: payloadFormatIndicator ? 1 : 0 }),
  };
  return {
    ...message,
    ...(Object.keys(told).length === 0 ? {} : { properties: told }),
    ...(typeof subscriptionIdentifier === 'number' ? { identifier: subscriptionIdentifier } : {}),
  };
}
