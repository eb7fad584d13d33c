/** Enhanced authentication (MQTT 5, 4.12), with SCRAM-SHA-512 over the users file and with a method that asks at length. */
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import type { AuthenticationMethod, Step } from '../../src/broker/authentication.js';
import type { MqttClient } from '../support/mqttclient.js';
import * as wire from '../support/wire.js';
import { PROPERTY, propertyOf } from '../support/wire.js';
import { conforms, type Scene, useBroker } from './conforms.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-authentication-'));
const usersFile = join(folder, 'users.passwd');
const salt = randomBytes(12);
const line = (password: string): string =>
  `$7$1000$${salt.toString('base64')}$${pbkdf2Sync(password, salt, 1000, 64, 'sha512').toString('base64')}`;
writeFileSync(usersFile, `anna:${line('secret')}\na=b:${line('other')}\n`, { mode: 0o600 });

/** Asks to count down from the number that the client gives; who says "name:NAME" instead is that. */
const counting: AuthenticationMethod = {
  name: 'counting',
  has: () => true,
  begin: () => ({
    next: (data) => {
      const text = Buffer.from(data ?? []).toString();
      let step: Step = { refused: 0x87, text: 'not a number' };
      if (/^\d+$/.test(text)) step = { ask: Buffer.from(String(Math.max(0, Number(text) - 1))) };
      else if (text.startsWith('name:')) step = { user: text.slice(5), groups: [], data: null };
      else if (text === 'break') return Promise.reject(new Error('broken'));
      // As a method that asks elsewhere.
      return new Promise((resolve) => setImmediate(() => resolve(step)));
    },
  }),
};

function methodOf(name: string, data?: string): wire.Property[] {
  const method: wire.Property = [PROPERTY.authenticationMethod, name];
  return data === undefined ? [method] : [method, [PROPERTY.authenticationData, data]];
}

function dataOf(packet: wire.Packet | undefined): string {
  return Buffer.from(propertyOf(packet ?? assert.fail(), PROPERTY.authenticationData) as Uint8Array).toString(); // prettier-ignore
}

/** The client's side of RFC 5802. */
class ScramClient {
  readonly first: string;
  readonly #password: string;
  #expected = '';

  constructor(user: string, password: string) {
    this.#password = password;
    this.first = `n,,n=${user},r=${randomBytes(12).toString('hex')}`;
  }

  /** The answer to the server's question. */
  answer(question: string): string {
    const [, nonce = '', salted = '', rounds = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(question) ?? [];
    assert.ok(nonce.startsWith(this.first.split('r=')[1] ?? '?') && nonce.length > 30);
    const password = pbkdf2Sync(this.#password, Buffer.from(salted, 'base64'), Number(rounds), 64, 'sha512');
    const sign = (key: Uint8Array, text: string): Buffer => createHmac('sha512', key).update(text).digest();
    const key = sign(password, 'Client Key');
    const final = `c=biws,r=${nonce}`;
    const signed = `${this.first.slice(3)},${question},${final}`;
    const signature = sign(createHash('sha512').update(key).digest(), signed);
    this.#expected = `v=${sign(sign(password, 'Server Key'), signed).toString('base64')}`;
    return `${final},p=${Buffer.from(key.map((byte, index) => byte ^ (signature[index] ?? 0))).toString('base64')}`;
  }

  verify(answer: string): void {
    assert.equal(answer, this.#expected);
  }
}

const SCRAM = 'SCRAM-SHA-512';

/** CONNECT and the question that comes back. */
async function asked(
  scene: Scene,
  method: string,
  data: string,
  more: wire.Property[] = [],
): Promise<{ client: MqttClient; question: wire.Packet }> {
  // prettier-ignore
  const client = await scene.open();
  client.send(wire.connect({ clientId: scene.clientId(), properties: [...methodOf(method, data), ...more] }));
  return { client, question: await client.next('AUTH') };
}

/** A client that is in by counting. */
async function counted(scene: Scene, user = 'anna'): Promise<MqttClient> {
  const { client } = await asked(scene, 'counting', '1');
  client.send(wire.auth(0x18, methodOf('counting', `name:${user}`)));
  assert.deepEqual((await client.next('CONNACK')).codes, [0]);
  return client;
}

describe('authentication', { concurrency: 4 }, () => {
  useBroker({ anonymous: false, usersFile, authenticationMethods: [counting] });
  after(() => rmSync(folder, { recursive: true }));

  conforms(
    { v5: '4.12.0-2 4.12.0-5 3.15.1-1 3.15.2-1 3.2.0-1' },
    'SCRAM-SHA-512 lets in who knows the password, and proves that the broker knows it',
    async (scene) => {
      for (const [user, password] of [
        ['anna', 'secret'],
        ['a=3Db', 'other'],
      ] as const) {
        const scram = new ScramClient(user, password);
        const { client, question } = await asked(scene, SCRAM, scram.first);
        assert.equal(question.bytes[0], 0xf0);
        assert.deepEqual(question.codes, [0x18]);
        assert.equal(propertyOf(question, PROPERTY.authenticationMethod), SCRAM);
        client.send(wire.auth(0x18, methodOf(SCRAM, scram.answer(dataOf(question)))));
        const connack = await client.next('CONNACK');
        assert.deepEqual(connack.codes, [0]);
        assert.equal(propertyOf(connack, PROPERTY.authenticationMethod), SCRAM);
        scram.verify(dataOf(connack));
        await client.subscribe(scene.topic(), 1);
        await client.publish(scene.topic(), 'x', { qos: 1 });
        await client.receive();
      }
    },
  );

  conforms(
    { v5: '4.12.0-4 3.1.4-2 3.2.2-7' },
    'who does not prove himself is refused by CONNACK and cut off',
    async (scene) => {
      const wrong = new ScramClient('anna', 'wrong');
      const nobody = new ScramClient('nobody', 'secret');
      for (const scram of [wrong, nobody, nobody]) {
        const { client, question } = await asked(scene, SCRAM, scram.first);
        client.send(wire.auth(0x18, methodOf(SCRAM, scram.answer(dataOf(question)))));
        await client.expectClosed(0x86, 0x87);
        assert.equal(client.history.at(-1)?.type, 'CONNACK');
      }
      for (const data of [
        '',
        'n=anna,r=123456789',
        'p=x,,n=anna,r=123456789',
        'n,,n=anna,r=1',
        'n,a=b,n=anna,r=123456789',
      ]) {
        const client = await scene.open();
        client.send(wire.connect({ clientId: scene.clientId(), properties: methodOf(SCRAM, data) }));
        await client.expectClosed(0x86, 0x87);
      }
    },
  );

  conforms(
    { v5: '4.12.0-4 3.1.4-6 4.13.1-1' },
    'a method may refuse, break or come to no end: the answer is CONNACK, and what follows is not processed',
    async (scene) => {
      for (const [data, code] of [
        ['no', 0x87],
        ['break', 0x80],
      ] as const) {
        const { client } = await asked(scene, 'counting', '3');
        client.send(wire.auth(0x18, methodOf('counting', data)), wire.PINGREQ);
        await client.expectClosed(code);
      }
      const { client } = await asked(scene, 'counting', '99');
      let answer = await (client.send(wire.auth(0x18, methodOf('counting', '98'))), client.any());
      for (let left = 97; answer?.type === 'AUTH'; left--) {
        client.send(wire.auth(0x18, methodOf('counting', String(left))));
        answer = await client.any();
      }
      assert.deepEqual(answer?.codes, [0x87]);
      await client.closed();
    },
  );

  conforms(
    { v5: '3.1.4-6 3.2.0-1 3.1.2-30' },
    'several questions are asked, and what is sent behind the last answer is processed after CONNACK',
    async (scene) => {
      const { client, question } = await asked(scene, 'counting', '3');
      assert.equal(dataOf(question), '2');
      client.send(
        wire.auth(0x18, methodOf('counting', '2')),
        wire.auth(0x18, methodOf('counting', '1')),
        wire.auth(0x18, methodOf('counting', 'name:anna')),
        wire.subscribe(5, 1, [[scene.topic(), 0]]),
        wire.PINGREQ,
      );
      await client.ping();
      assert.deepEqual(client.history.map(({ type }) => type), ['AUTH', 'AUTH', 'AUTH', 'CONNACK', 'SUBACK', 'PINGRESP', 'PINGRESP']); // prettier-ignore
    },
  );

  conforms(
    { v5: '4.12.0-4 4.13.1-1 3.15.1-1 3.15.2-1 3.1.0-1' },
    'before CONNACK nothing is taken but right AUTH and DISCONNECT',
    async (scene) => {
      const wrong: readonly (readonly [Uint8Array, ...number[]])[] = [
        [wire.PINGREQ, 0x82],
        [wire.publish(5, { topic: scene.topic(), payload: 'x' }), 0x82],
        [wire.connect({ clientId: scene.clientId() }), 0x82],
        [wire.auth(0x18, methodOf(SCRAM, '1')), 0x82],
        [wire.auth(0x18, [[PROPERTY.authenticationData, '1']]), 0x82],
        [wire.auth(0x19, methodOf('counting', '1')), 0x82],
        [wire.auth(0x00, methodOf('counting', '1')), 0x82],
        [wire.auth(0x01, methodOf('counting', '1')), 0x81, 0x82],
        [wire.u8(0xf0, 0), 0x82],
        [wire.frame(0xf1, wire.auth(0x18, methodOf('counting', '1')).subarray(2)), 0x81],
        [wire.auth(0x18, [...methodOf('counting', '1'), [PROPERTY.receiveMaximum, 5]]), 0x81, 0x82],
        [wire.auth(0x18, [...methodOf('counting', '1'), ...methodOf('counting')]), 0x82],
        [wire.frame(0xf0, wire.auth(0x18, methodOf('counting', '1')).subarray(2), wire.u8(0)), 0x81],
      ];
      for (const [bytes, ...codes] of wrong) {
        const { client } = await asked(scene, 'counting', '3');
        client.send(bytes);
        await client.expectClosed(...codes);
        assert.equal(client.history.at(-1)?.type, 'CONNACK');
      }
      const { client } = await asked(scene, 'counting', '3');
      await client.disconnect();
      assert.deepEqual(client.history.map(({ type }) => type), ['AUTH']); // prettier-ignore
    },
  );

  conforms(
    { v5: '3.1.2-24 3.15.2-2 3.15.2-3' },
    'a client that takes no packet of the size of the question is refused',
    async (scene) => {
      const scram = new ScramClient('anna', 'secret');
      const client = await scene.open();
      client.send(wire.connect({ clientId: scene.clientId(), properties: [...methodOf(SCRAM, scram.first), [PROPERTY.maximumPacketSize, 60]] })); // prettier-ignore
      await client.expectClosed(0x95);
      assert.ok(client.history.every(({ bytes }) => bytes.length <= 60));
    },
  );

  conforms(
    { v5: '4.12.1-1 4.12.0-2 4.12.0-5' },
    'an open connection renews its authentication while everything else goes on',
    async (scene) => {
      const client = await counted(scene);
      await client.subscribe(scene.topic(), 1);
      for (let round = 0; round < 3; round++) {
        client.send(wire.auth(0x19, methodOf('counting', '7')));
        const question = await client.next('AUTH');
        assert.deepEqual(question.codes, [0x18]);
        assert.equal(propertyOf(question, PROPERTY.authenticationMethod), 'counting');
        await client.publish(scene.topic(), 'x', { qos: 1 });
        await client.receive();
        client.send(wire.auth(0x18, methodOf('counting', 'name:anna')));
        const done = await client.next('AUTH');
        assert.deepEqual(done.codes, [0]);
        assert.equal(propertyOf(done, PROPERTY.authenticationMethod), 'counting');
      }
      await client.ping();
    },
  );

  conforms(
    { v5: '4.12.1-1 4.12.1-2 4.13.2-1' },
    'a renewal that fails or is not right ends the connection with DISCONNECT, and the will is published',
    async (scene) => {
      const begin = wire.auth(0x19, methodOf('counting', '7'));
      const wrong: readonly (readonly [Uint8Array[], ...number[]])[] = [
        [[wire.auth(0x19, methodOf('counting', 'no'))], 0x87],
        [[wire.auth(0x19, methodOf('counting', 'name:bert'))], 0x87],
        [[wire.auth(0x19, methodOf(SCRAM, 'x'))], 0x82],
        [[wire.auth(0x18, methodOf('counting', '1'))], 0x82],
        [[begin, begin], 0x82],
        [[wire.auth(0x19)], 0x82],
        [[wire.auth(0x00)], 0x82],
      ];
      const watcher = await counted(scene);
      await watcher.subscribe(scene.topic('will'), 0);
      for (const [packets, ...codes] of wrong) {
        const client = await scene.open();
        client.send(wire.connect({ clientId: scene.clientId(), properties: methodOf('counting', 'name:anna'), will: { topic: scene.topic('will'), payload: 'w' } })); // prettier-ignore
        await client.next('CONNACK');
        client.send(...packets);
        await client.closed();
        const last = client.history.at(-1);
        assert.equal(last?.type, 'DISCONNECT');
        assert.ok(codes.includes(last.codes[0] ?? 0), `0x${last.codes[0]?.toString(16)}`);
        await watcher.receive();
      }
    },
  );

  conforms(
    { v5: '4.12.0-6 4.12.0-7' },
    'a client that came in by its password can neither begin nor continue an authentication',
    async (scene) => {
      for (const code of [0x18, 0x19]) {
        const { client, connack } = await scene.connectTold({ username: 'anna', password: 'secret' });
        assert.equal(propertyOf(connack, PROPERTY.authenticationMethod), undefined);
        client.send(wire.auth(code, methodOf('counting', '1')));
        await client.expectClosed(0x82);
      }
    },
  );
});
