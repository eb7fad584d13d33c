/** Seeded mutation of MQTT packets: small damage that keeps much of a packet, so that it reaches deep into the broker. */
import * as wire from '../support/wire.js';
import { PROPERTY, type Property, type Version } from '../support/wire.js';

/** Numbers below `below`, the same for the same seed (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  of<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new RangeError('nothing to choose from');
    return value;
  }
}

const PROPERTIES: readonly Property[] = [
  [PROPERTY.payloadFormat, 1],
  [PROPERTY.messageExpiry, 5],
  [PROPERTY.topicAlias, 3],
  [PROPERTY.responseTopic, 'fuzz/answer'],
  [PROPERTY.correlationData, Buffer.from([1, 2, 3])],
  [PROPERTY.user, ['name', 'value']],
  [PROPERTY.user, ['name', 'other']],
  [PROPERTY.contentType, 'text/plain'],
];

/** Packets as they should be. */
export function corpus(version: Version): readonly Buffer[] {
  const isFive = version === 5;
  const properties = isFive ? PROPERTIES : [];
  const publications = [0, 1, 2].flatMap((qos) => [
    wire.publish(version, { topic: 'fuzz/a', payload: 'payload', qos, id: 7, properties }),
    wire.publish(version, { topic: 'fuzz/b/c', payload: Buffer.alloc(300, 1), qos, id: 8, retain: true }),
    wire.publish(version, {
      topic: 'fuzz/a',
      qos,
      id: 9,
      properties: isFive ? [[PROPERTY.topicAlias, 1]] : [],
    }),
  ]);
  const identified: readonly Property[] = [[PROPERTY.subscriptionIdentifier, 9]];
  return [
    ...publications,
    wire.subscribe(version, 1, [['fuzz/#', 2], ['fuzz/+/c', 1], ['fuzz/a', 0]]), // prettier-ignore
    wire.subscribe(version, 2, [['$share/g/fuzz/#', 1]], isFive ? identified : undefined),
    wire.unsubscribe(version, 3, ['fuzz/#', 'fuzz/none']),
    wire.acknowledge('PUBACK', 1),
    wire.acknowledge('PUBREC', 1),
    wire.acknowledge('PUBREL', 7),
    wire.acknowledge('PUBCOMP', 1),
    wire.PINGREQ,
    wire.disconnect(version, isFive ? 4 : 0),
    ...(isFive ? [wire.auth(0x19, [[PROPERTY.authenticationMethod, 'x']]), wire.acknowledge('PUBACK', 1, 0x80, [[PROPERTY.reasonString, 'no']])] : []), // prettier-ignore
  ];
}

export function connectOf(version: Version, clientId: string, random: Random): Buffer {
  const hasWill = random.below(4) === 0;
  return wire.connect({
    version,
    clientId,
    clean: random.below(2) === 0,
    keepAliveS: random.below(3),
    ...(hasWill ? { will: { topic: 'fuzz/will', payload: 'gone', qos: random.below(3) } } : {}),
    ...(version === 5 ? { properties: [[PROPERTY.sessionExpiry, random.below(3)], [PROPERTY.receiveMaximum, 1 + random.below(5)], [PROPERTY.topicAliasMaximum, random.below(3)]] } : {}), // prettier-ignore
  });
}

/** One to three injuries. */
export function mutate(packet: Buffer, others: readonly Buffer[], random: Random): Buffer {
  let bytes: Buffer = Buffer.from(packet);
  for (let count = 1 + random.below(3); count > 0; count--) bytes = injure(bytes, others, random);
  return bytes;
}

function injure(bytes: Buffer, others: readonly Buffer[], random: Random): Buffer {
  const at = random.below(bytes.length + 1);
  const length = random.below(8);
  switch (random.below(10)) {
    case 0:
    case 1:
      return edited(bytes, at, (byte) => byte ^ (1 << random.below(8)));
    case 2:
      return edited(bytes, at, () =>
        random.of([0, 1, 2, 0x7f, 0x80, 0xff, 0x23, 0x2b, 0x2f, random.below(256)]),
      );
    case 3:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(length, random.below(256)),
        bytes.subarray(at),
      ]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    case 5:
      return bytes.subarray(0, at);
    case 6:
      return Buffer.concat([bytes, bytes.subarray(at)]);
    case 7:
      return Buffer.concat([bytes.subarray(0, at), random.of(others).subarray(random.below(6))]);
    case 8:
      return edited(bytes, 0, (byte) => (byte & 15) | (random.below(16) << 4));
    default:
      return relengthened(bytes, random);
  }
}

function edited(bytes: Buffer, at: number, edit: (byte: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  const byte = copy[at];
  if (byte !== undefined) copy[at] = edit(byte);
  return copy;
}

/** The right body under a remaining length that is a little off, or the true one after other injuries. */
function relengthened(bytes: Buffer, random: Random): Buffer {
  const body = bytes.subarray(2);
  const length = Math.max(0, body.length + random.of([-2, -1, 0, 0, 0, 1, 2, 200]));
  return Buffer.concat([bytes.subarray(0, 1), wire.variable(length), body]);
}
