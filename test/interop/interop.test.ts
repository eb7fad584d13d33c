/**
 * Clients that are not ours run one scenario against this broker and against Debian's mosquitto: both transcripts are what
 * the specification says, so they are equal.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBroker, type TestBroker } from '../support/broker.js';
import { startMosquitto } from '../support/mosquitto.js';
import { mosquittoClients } from './mosquittoclients.js';
import { mqttJs } from './mqttjs.js';
import { paho } from './paho.js';
import { stepsOf, type Seen } from './scenario.js';

/** Order between topics and levels of QoS is open, and MQTT.js groups user properties by name. */
function comparable(messages: readonly Seen[]): Seen[] {
  return messages
    .map(({ properties, ...message }) => {
      if (properties?.userProperties === undefined) return properties === undefined ? message : { ...message, properties }; // prettier-ignore
      const userProperties = [...properties.userProperties].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      return { ...message, properties: { ...properties, userProperties } };
    })
    .sort((a, b) => (`${a.qos} ${a.topic}` < `${b.qos} ${b.topic}` ? -1 : 1));
}

describe('interoperability', { concurrency: 4 }, () => {
  let holdfast: TestBroker | undefined;
  let mosquitto: Awaited<ReturnType<typeof startMosquitto>> | undefined;
  before(async () => {
    holdfast = await startBroker();
    mosquitto = await startMosquitto();
  });
  after(async () => {
    await holdfast?.close();
    await mosquitto?.close();
  });

  for (const driver of [mqttJs, mosquittoClients, paho]) {
    for (const version of [4, 5] as const) {
      test(`${driver.name} sees the same of this broker as of mosquitto, MQTT ${version === 5 ? '5.0' : '3.1.1'}`, async () => {
        assert.ok(holdfast !== undefined && mosquitto !== undefined);
        const expected = stepsOf(version).filter((step) => step.do === 'listen').map(({ sees }) => comparable(sees)); // prettier-ignore
        const prefix = `${driver.name.replaceAll(/\W/g, '')}${version}`;
        for (const { host, port } of [mosquitto.address, holdfast.mqtt]) {
          const transcript = (await driver.run(host, port, version, prefix)).map(comparable);
          assert.deepEqual(transcript, expected, port === holdfast.mqtt.port ? 'holdfast' : 'mosquitto');
        }
      });
    }
  }
});
