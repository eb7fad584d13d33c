/** What is malformed, each kind whole, byte by byte, and with further packets right behind it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import * as wire from '../support/wire.js';
import { PROPERTY, type Version } from '../support/wire.js';
import { conforms, useBroker, type Scene } from './conforms.js';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** Kinds that every version refuses after CONNECT. */
function common(version: Version): readonly Buffer[] {
  const none = version === 5 ? '00' : '';
  const sized = (first: string, body: string): Buffer => wire.frame(parseInt(first, 16), hex(body));
  return [
    sized('38', `000161 ${none}`),
    sized('30', `0000 ${none}`),
    sized('30', `000123 ${none}`),
    sized('30', `00012b ${none}`),
    sized('30', `000361002f ${none}`),
    sized('30', `000100 ${none}`),
    sized('30', `0001ff ${none}`),
    sized('30', `0002c080 ${none}`),
    sized('30', `0003eda080 ${none}`),
    sized('30', `000561 ${none}`),
    sized('32', `000161 0000 ${none}`),
    sized('32', '000161'),
    sized('32', '00016100'),
    sized('34', `000161 0000 ${none}`),
    sized('36', `000161 0001 ${none}`),
    sized('40', ''),
    sized('40', '00'),
    sized('40', '0000'),
    sized('50', '00'),
    sized('62', '00'),
    sized('70', '00'),
    sized('50', '0000'),
    sized('62', '0000'),
    sized('70', '0000'),
    sized('82', `0001 ${none}`),
    sized('82', `0000 ${none} 000161 00`),
    sized('82', `0001 ${none} 0000 00`),
    sized('82', `0001 ${none} 000100 00`),
    sized('82', `0001 ${none} 000161 03`),
    sized('82', `0001 ${none} 000161`),
    sized('82', `0001 ${none} 0001ff 00`),
    sized('a2', `0001 ${none}`),
    sized('a2', `0000 ${none} 000161`),
    sized('a2', `0001 ${none} 0000`),
    sized('a2', `0001 ${none} 000100`),
    sized('c0', '00'),
    sized('d0', ''),
    sized('20', '0000'),
    sized('90', '000100'),
    sized('b0', '0001'),
    sized('00', ''),
  ];
}

const OF_311: readonly Buffer[] = [
  hex('40 03 0001 00'),
  hex('50 04 0001 00 00'),
  hex('62 03 0001 00'),
  hex('70 03 0001 00'),
  hex('e0 01 00'),
  hex('f0 00'),
  hex('82 06 0001 000161 04'),
];

const OF_5: readonly Buffer[] = [
  hex('30 05 0001 61 01 23'),
  hex('30 07 0001 61 03 23 0000'),
  hex('30 0a 0001 61 06 23 0001 23 0001'),
  hex('30 06 0001 61 02 01 07'),
  hex('30 08 0001 61 04 01 00 01 00'),
  hex('30 06 0001 61 02 0b 00'),
  hex('30 06 0001 61 02 0b 01'),
  hex('30 09 0001 61 05 11 00000001'),
  hex('30 0a 0001 61 06 08 0003 612f23'),
  hex('30 04 0001 61 20'),
  hex('30 07 0001 61 03 02 0000'),
  hex('30 08 0001 61 04 03 0005 61'),
  hex('30 06 0001 61 80 80 00'),
  hex('30 0a 0001 61 04 26 0001 61 0001'),
  hex('30 06 0001 61 02 00 00'),
  hex('40 04 0001 00 01'),
  hex('40 05 0001 00 00 00'),
  hex('40 03 0001 7f'),
  hex('50 03 0001 92'),
  hex('62 03 0001 10'),
  hex('70 03 0001 10'),
  hex('40 0a 0001 00 06 1f 0000 1f 0000'),
  hex('40 09 0001 00 05 11 00000000'),
  hex('82 09 0001 02 0b 00 0001 61 00'),
  hex('82 0b 0001 04 0b 01 0b 02 0001 61 00'),
  hex('82 07 0001 00 0001 61 30'),
  hex('82 07 0001 00 0001 61 40'),
  hex('82 07 0001 00 0001 61 80'),
  hex('30 07 0001 61 03 23 ffff'),
  wire.subscribe(5, 1, [['$share/g/a', 4]]),
  hex('a2 08 0001 02 0b 01 0001 61'),
  hex('e0 02 00 05'),
  hex('f0 00'),
  hex('f0 02 19 00'),
  hex('c0 80 00'),
  hex('30 84 00 0001 61 00'),
];

/** CONNECTs that no version accepts, or that this one does not. */
function connects(version: Version, clientId: string): readonly Buffer[] {
  const options = { version, clientId };
  const shared = [
    wire.connect({ ...options, will: { topic: 'a', qos: 3 } }),
    wire.connect({ ...options, will: { topic: 'a/#' } }),
    wire.connect({ ...options, flags: 3 }),
    wire.connect({ ...options, flags: 0x0a }),
    wire.connect({ ...options, clientId: 'a\0' }),
  ];
  const own: Buffer[] =
    version === 4
      ? [wire.connect({ ...options, password: 'p' })]
      : [
          wire.connect({ ...options, properties: [[PROPERTY.receiveMaximum, 0]] }),
          wire.connect({ ...options, properties: [[PROPERTY.maximumPacketSize, 0]] }),
          wire.connect({ ...options, properties: [[PROPERTY.requestProblemInformation, 7]] }),
          wire.connect({ ...options, properties: [[PROPERTY.requestResponseInformation, 2]] }),
          wire.connect({ ...options, will: { topic: 'a', properties: [[PROPERTY.payloadFormat, 2]] } }),
          wire.connect({ ...options, will: { topic: 'a', properties: [[PROPERTY.responseTopic, 'a/+']] } }),
          wire.connect({ ...options, properties: [[PROPERTY.authenticationData, 'a']] }),
          wire.connect({ ...options, properties: [[PROPERTY.sessionExpiry, 1], [PROPERTY.sessionExpiry, 1]] }),
        ]; // prettier-ignore
  return [...shared, ...own];
}

const FOLLOWING = (version: Version, topic: string): Buffer =>
  Buffer.concat([wire.PINGREQ, wire.publish(version, { topic, payload: 'x'.repeat(300), retain: true }), wire.PINGREQ]); // prettier-ignore

/** Three ways for the bytes to arrive; each time they must end the connection, and nothing behind them may count. */
async function refusesEachWay(scene: Scene, bytes: Buffer, isConnect: boolean): Promise<void> {
  for (const way of ['whole', 'split', 'glued'] as const) {
    const client = isConnect ? await scene.open() : await scene.connect();
    const known = client.history.length;
    if (way === 'split') await client.sendByteByByte(bytes);
    else client.send(bytes, way === 'glued' ? FOLLOWING(scene.version, scene.topic()) : Buffer.alloc(0));
    try {
      await client.closed(3000);
      const said = client.history.slice(known).map(({ type, codes }) => `${type} ${codes.join()}`);
      assert.ok(said.length <= (scene.version === 5 ? 1 : 0), said.join('; '));
      const last = client.history.slice(known).at(-1);
      if (last !== undefined) {
        assert.ok(last.type === (isConnect ? 'CONNACK' : 'DISCONNECT'), said.join());
        assert.ok((last.codes[0] ?? 0) >= 0x80, said.join());
      }
    } catch (fault) {
      throw new Error(`${bytes.toString('hex')} ${way}`, { cause: fault });
    }
  }
}

describe('malformed packets', { concurrency: 8 }, () => {
  useBroker();

  conforms(
    { v3: '4.8.0-1 2.2.2-2 1.5.3-1 1.5.3-2', v5: '4.13.1-1 1.5.4-1 1.5.4-2' },
    'each kind ends the connection however its bytes arrive, and nothing behind it counts',
    async (scene) => {
      const kinds = [...common(scene.version), ...(scene.version === 4 ? OF_311 : OF_5)];
      for (const bytes of kinds) await refusesEachWay(scene, bytes, false);
      const later = await scene.connect();
      await later.subscribe(scene.topic());
      await later.quiet();
    },
  );

  conforms(
    { v3: '3.1.4-1 3.1.4-5', v5: '3.1.4-1 3.1.4-6' },
    'each kind of malformed CONNECT ends the connection however its bytes arrive',
    async (scene) => {
      for (const bytes of connects(scene.version, scene.clientId())) await refusesEachWay(scene, bytes, true);
      const later = await scene.connect();
      await later.subscribe(scene.topic());
      await later.quiet();
    },
  );
});
