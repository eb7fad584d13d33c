/** Every property and every reason code in every packet of a client: those of its table are taken, all others refused. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, type Property } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const SAMPLES: readonly Property[] = [
  [PROPERTY.payloadFormat, 0],
  [PROPERTY.messageExpiry, 60],
  [PROPERTY.contentType, 'text'],
  [PROPERTY.responseTopic, 'answer'],
  [PROPERTY.correlationData, 'data'],
  [PROPERTY.subscriptionIdentifier, 1],
  [PROPERTY.sessionExpiry, 0],
  [PROPERTY.assignedClientIdentifier, 'id'],
  [PROPERTY.serverKeepAlive, 10],
  [PROPERTY.authenticationMethod, 'method'],
  [PROPERTY.authenticationData, 'data'],
  [PROPERTY.requestProblemInformation, 1],
  [PROPERTY.willDelay, 0],
  [PROPERTY.requestResponseInformation, 0],
  [PROPERTY.responseInformation, 'info'],
  [PROPERTY.serverReference, 'elsewhere'],
  [PROPERTY.reasonString, 'reason'],
  [PROPERTY.receiveMaximum, 10],
  [PROPERTY.topicAliasMaximum, 1],
  [PROPERTY.topicAlias, 1],
  [PROPERTY.maximumQoS, 1],
  [PROPERTY.retainAvailable, 1],
  [PROPERTY.user, ['name', 'value']],
  [PROPERTY.maximumPacketSize, 1000],
  [PROPERTY.wildcardAvailable, 1],
  [PROPERTY.identifiersAvailable, 1],
  [PROPERTY.sharedAvailable, 1],
];

interface Place {
  readonly name: string;
  /** Properties of its table, user properties aside, which every packet may have. */
  readonly allowed: readonly number[];
  readonly isConnect?: boolean;
  /** The packet itself ends the connection. */
  readonly isLast?: boolean;
  bytes(scene: Scene, properties: readonly Property[]): Buffer;
}

const REASON = [PROPERTY.reasonString];
const MESSAGE = [PROPERTY.payloadFormat, PROPERTY.messageExpiry, PROPERTY.contentType, PROPERTY.responseTopic, PROPERTY.correlationData]; // prettier-ignore
const PLACES: readonly Place[] = [
  {
    name: 'CONNECT',
    allowed: [PROPERTY.sessionExpiry, PROPERTY.requestProblemInformation, PROPERTY.requestResponseInformation, PROPERTY.receiveMaximum, PROPERTY.topicAliasMaximum, PROPERTY.maximumPacketSize], // prettier-ignore
    isConnect: true,
    bytes: (scene, properties) => wire.connect({ clientId: scene.clientId(), properties }),
  },
  {
    name: 'will',
    allowed: [...MESSAGE, PROPERTY.willDelay],
    isConnect: true,
    bytes: (scene, properties) => wire.connect({ clientId: scene.clientId(), will: { topic: scene.topic(), properties } }), // prettier-ignore
  },
  {
    name: 'PUBLISH',
    allowed: [...MESSAGE, PROPERTY.topicAlias],
    bytes: (scene, properties) => wire.publish(5, { topic: scene.topic(), payload: 'x', properties }),
  },
  ...(['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'] as const).map((type) => ({
    name: type,
    allowed: REASON,
    bytes: (_scene: Scene, properties: readonly Property[]) => wire.acknowledge(type, 9, 0, properties),
  })),
  {
    name: 'SUBSCRIBE',
    allowed: [PROPERTY.subscriptionIdentifier],
    bytes: (scene, properties) => wire.subscribe(5, 1, [[scene.topic(), 0]], properties),
  },
  {
    name: 'UNSUBSCRIBE',
    allowed: [],
    bytes: (scene, properties) => wire.unsubscribe(5, 1, [scene.topic()], properties),
  },
  {
    name: 'DISCONNECT',
    allowed: [PROPERTY.sessionExpiry, PROPERTY.reasonString],
    isLast: true,
    bytes: (_scene, properties) => wire.frame(0xe0, wire.u8(0), wire.encodeProperties(properties)),
  },
];

/** Whether the broker takes the packet: it goes on, or closes without a complaint where the packet asks for that. */
async function isTaken(scene: Scene, place: Place, bytes: Buffer): Promise<boolean> {
  const client = place.isConnect === true ? await scene.open() : await scene.connect();
  const known = client.history.length;
  client.send(bytes);
  if (place.isConnect !== true && place.isLast !== true) client.send(wire.PINGREQ);
  try {
    for (;;) {
      const packet = await client.any();
      if (packet === undefined) return place.isLast === true && client.history.length === known;
      if (packet.type === 'DISCONNECT') return false;
      if (packet.type === 'CONNACK') return packet.codes[0] === 0;
      if (packet.type === 'PINGRESP') return true;
    }
  } finally {
    client.socket.destroy();
  }
}

describe('properties and codes', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v5: '4.13.1-1 3.1.4-1' },
    'each packet takes the properties of its table and refuses the others',
    async (scene) => {
      for (const place of PLACES) {
        for (const sample of SAMPLES) {
          const isAllowed = place.allowed.includes(sample[0]) || sample[0] === PROPERTY.user;
          // A method is allowed in CONNECT, and refused for what it is.
          if (place.name === 'CONNECT' && sample[0] === PROPERTY.authenticationMethod) continue;
          assert.equal(await isTaken(scene, place, place.bytes(scene, [sample])), isAllowed, `${place.name} with ${sample[0]}`); // prettier-ignore
        }
        for (const identifier of [0, 4, 10, 0x1b, 0x2b, 0x7f])
          assert.ok(!(await isTaken(scene, place, place.bytes(scene, [[identifier, 1]]))), `${place.name} with ${identifier}`); // prettier-ignore
      }
    },
  );

  conforms(
    { v5: '4.13.1-1 3.1.4-1' },
    'a property of single use is refused the second time, a user property is not',
    async (scene) => {
      for (const place of PLACES) {
        for (const sample of SAMPLES.filter(([identifier]) => place.allowed.includes(identifier))) {
          const user: Property = [PROPERTY.user, ['a', 'b']];
          for (const properties of [[sample, sample], [sample, user, sample]])
            assert.ok(!(await isTaken(scene, place, place.bytes(scene, properties))), `${place.name} with ${sample[0]} twice`); // prettier-ignore
        }
        const users = Array.from({ length: 5 }, (): Property => [PROPERTY.user, ['same', 'same']]);
        assert.ok(
          await isTaken(scene, place, place.bytes(scene, users)),
          `${place.name} with user properties`,
        );
      }
    },
  );

  conforms(
    { v5: '4.13.1-1 3.1.4-1 2.2.2-1' },
    'a property block that ends within a property is malformed, wherever it is cut',
    async (scene) => {
      for (const place of PLACES) {
        for (const sample of SAMPLES.filter(([identifier]) => place.allowed.includes(identifier))) {
          const whole = place.bytes(scene, [sample]);
          const block = wire.encodeProperties([sample]);
          const at = whole.indexOf(block);
          for (let length = 1; length < block.length - 1; length++) {
            const cut = Buffer.concat([wire.u8(length), block.subarray(1, 1 + length)]);
            const body = Buffer.concat([whole.subarray(2, at), cut, whole.subarray(at + block.length)]);
            const bytes = wire.frame(whole[0] ?? 0, body);
            assert.ok(!(await isTaken(scene, place, bytes)), `${place.name} with ${block.toString('hex')} cut to ${length}`); // prettier-ignore
          }
        }
      }
    },
  );

  conforms(
    { v5: '4.13.1-1' },
    'each packet takes the reason codes of its table and refuses the others',
    async (scene) => {
      const received = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
      const tables = { PUBACK: received, PUBREC: received, PUBREL: [0, 0x92], PUBCOMP: [0, 0x92] } as const;
      const probe: Place = { name: 'acknowledgement', allowed: [], bytes: () => Buffer.alloc(0) };
      for (const type of ['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP'] as const) {
        const table: readonly number[] = tables[type];
        for (let code = 0; code < 256; code++)
          assert.equal(await isTaken(scene, probe, wire.acknowledge(type, 9, code)), table.includes(code), `${type} ${code}`); // prettier-ignore
      }
      const leaving: Place = { ...probe, isLast: true };
      const ofClient = [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
      for (const code of ofClient)
        assert.ok(await isTaken(scene, leaving, wire.frame(0xe0, wire.u8(code))), `DISCONNECT ${code}`);
      for (const code of [1, 2, 3, 5, 0x10, 0x18, 0x19, 0x7f, 0x84, 0x8c, 0xa3, 0xff])
        assert.ok(!(await isTaken(scene, leaving, wire.frame(0xe0, wire.u8(code)))), `DISCONNECT ${code}`);
    },
  );
});
