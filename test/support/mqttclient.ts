/**
 * An MQTT client of single packets over a real socket: it sends any bytes it is given and shows every packet that comes
 * back, in order. It does nothing by itself: no ping, no acknowledgement unless a method says so.
 */
import assert from 'node:assert/strict';
import { connect as connectSocket, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import * as wire from './wire.js';
import type {
  ConnectOptions,
  Filter,
  Packet,
  Property,
  PublishOptions,
  Text,
  Type,
  Version,
} from './wire.js';

/** Long enough for a busy machine. */
export const DEADLINE_MS = 15_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export type PublishExtras = Omit<PublishOptions, 'topic' | 'payload'>;

export class MqttClient {
  readonly version: Version;
  readonly socket: Duplex;
  /** Everything received so far, taken or not. */
  readonly history: Packet[] = [];
  readonly #waiting: (() => void)[] = [];
  #queue: Packet[] = [];
  #buffer: Buffer = Buffer.alloc(0);
  #fault: Error | undefined;
  #isClosed = false;
  #nextId = 1;

  constructor(socket: Duplex, version: Version) {
    this.socket = socket;
    this.version = version;
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
    socket.on('error', () => {});
  }

  static async open(address: Address, version: Version): Promise<MqttClient> {
    const socket = connectSocket(address.port, address.host);
    socket.setNoDelay(true);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new MqttClient(socket, version);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(...chunks: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(chunks));
  }

  /** Each byte in a segment of its own. */
  async sendByteByByte(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      if (this.#isClosed) return;
      await new Promise<void>((resolve) => this.socket.write(wire.u8(byte), () => resolve()));
    }
  }

  /** The next packet, which must be of this type. */
  async next(type: Type, deadlineMs = DEADLINE_MS): Promise<Packet> {
    const packet = await this.any(deadlineMs);
    assert.ok(packet !== undefined, `connection closed instead of ${type}`);
    assert.equal(packet.type, type, `${packet.type} (codes ${packet.codes.join()}) instead of ${type}`);
    return packet;
  }

  /** The next packet of whatever type; undefined when the server has closed. */
  async any(deadlineMs = DEADLINE_MS): Promise<Packet | undefined> {
    await this.#until(() => this.#queue.length > 0 || this.#isClosed, deadlineMs, 'a packet');
    return this.#queue.shift();
  }

  /** Sends CONNECT and takes the CONNACK, which may refuse. */
  async handshake(options: ConnectOptions): Promise<Packet> {
    this.send(wire.connect({ version: this.version, ...options }));
    return this.next('CONNACK');
  }

  /** Round trip of SUBSCRIBE; the SUBACK's codes. */
  async subscribe(filter: Text, options = 0, properties?: readonly Property[]): Promise<readonly number[]> {
    return (await this.subscribeAll([[filter, options]], properties)).codes;
  }

  async subscribeAll(filters: readonly Filter[], properties?: readonly Property[]): Promise<Packet> {
    const id = this.newId();
    this.send(wire.subscribe(this.version, id, filters, properties));
    const suback = await this.#answer('SUBACK');
    assert.equal(suback.id, id);
    return suback;
  }

  async unsubscribe(...filters: readonly Text[]): Promise<Packet> {
    const id = this.newId();
    this.send(wire.unsubscribe(this.version, id, filters));
    const unsuback = await this.#answer('UNSUBACK');
    assert.equal(unsuback.id, id);
    return unsuback;
  }

  /** Publishes and sees the exchange of its QoS through; returns the answer (PUBACK, PUBREC), which may refuse. */
  async publish(topic: Text, payload: Text = '', extras: PublishExtras = {}): Promise<Packet> {
    const id = extras.id ?? this.newId();
    this.send(wire.publish(this.version, { topic, payload, ...extras, id }));
    if ((extras.qos ?? 0) === 0) return this.ping();
    const answer = await this.#answer(extras.qos === 1 ? 'PUBACK' : 'PUBREC');
    assert.equal(answer.id, id);
    if (answer.type === 'PUBREC' && (answer.codes[0] ?? 0) < 0x80) {
      this.send(wire.acknowledge('PUBREL', id));
      assert.equal((await this.#answer('PUBCOMP')).id, id);
    }
    return answer;
  }

  /** The next packet is a PUBLISH; its exchange is completed. */
  async receive(deadlineMs?: number): Promise<Packet> {
    const message = await this.next('PUBLISH', deadlineMs);
    if (message.qos === 1) this.send(wire.acknowledge('PUBACK', message.id));
    if (message.qos === 2) {
      this.send(wire.acknowledge('PUBREC', message.id));
      assert.equal((await this.#answer('PUBREL')).id, message.id);
      this.send(wire.acknowledge('PUBCOMP', message.id));
    }
    return message;
  }

  /** Payloads of the next messages, as text. */
  async receiveTexts(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) texts.push((await this.receive()).payload.toString());
    return texts;
  }

  /** PINGREQ and its PINGRESP; packets that came before it stay to be taken. */
  async ping(): Promise<Packet> {
    this.send(wire.PINGREQ);
    return this.#answer('PINGRESP');
  }

  /** Takes everything that comes before the answers of two pings. */
  async arrived(): Promise<Packet[]> {
    await this.ping();
    await this.ping();
    return this.#queue.splice(0);
  }

  /** Nothing is there to be taken, and nothing comes before the answers of two pings. */
  async quiet(): Promise<void> {
    const packets = await this.arrived();
    assert.deepEqual(
      packets.map(({ type, topic, codes }) => `${type} ${topic} ${codes.join()}`),
      [],
    );
  }

  /** The server closes. In MQTT 5 after a DISCONNECT (or CONNACK) with one of the codes, in 3.1.1 without a packet. */
  async expectClosed(...codes: readonly number[]): Promise<void> {
    await this.#until(() => this.#isClosed, DEADLINE_MS, 'the server to close');
    const last = this.#queue.pop();
    if (this.version === 4 || codes.length === 0) {
      assert.equal(last, undefined, `${last?.type ?? ''} before the server closed`);
      return;
    }
    // The specification allows a close without a word; this broker always gives its reason.
    if (last === undefined && process.env['HOLDFAST_TEST_BROKER'] !== undefined) return;
    assert.ok(last !== undefined, 'closed without a DISCONNECT');
    assert.ok(last.type === 'DISCONNECT' || last.type === 'CONNACK', `${last.type} before the server closed`);
    assert.ok(codes.includes(last.codes[0] ?? 0), `${last.type} with 0x${last.codes[0]?.toString(16) ?? ''} where ${codes.map((code) => `0x${code.toString(16)}`).join(' or ')} is right`); // prettier-ignore
  }

  /** Waits for the server to close, whatever it says before. */
  async closed(deadlineMs = DEADLINE_MS): Promise<void> {
    await this.#until(() => this.#isClosed, deadlineMs, 'the server to close');
  }

  /** DISCONNECT, and the server's close. */
  async disconnect(code = 0, properties: readonly Property[] = []): Promise<void> {
    this.send(wire.disconnect(this.version, code, properties));
    this.socket.end();
    await this.closed();
  }

  /** Cuts the connection as a failing network does. */
  async cut(): Promise<void> {
    if (this.socket instanceof Socket) this.socket.resetAndDestroy();
    else this.socket.destroy();
    await this.closed();
  }

  newId(): number {
    return this.#nextId++;
  }

  /** Takes the next packet of this type out of turn, so that messages on their way do not disturb a request. */
  async #answer(type: Type): Promise<Packet> {
    const index = (): number => this.#queue.findIndex((packet) => packet.type === type);
    await this.#until(() => index() >= 0 || this.#isClosed, DEADLINE_MS, type);
    const [packet] = index() < 0 ? [] : this.#queue.splice(index(), 1);
    assert.ok(packet !== undefined, `connection closed (${this.#queue.at(-1)?.codes.join() ?? ''}) instead of ${type}`); // prettier-ignore
    return packet;
  }

  #read(bytes: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    try {
      for (
        let length = wire.packetLength(this.#buffer);
        length !== undefined;
        length = wire.packetLength(this.#buffer)
      ) {
        const packet = wire.decode(this.version, this.#buffer.subarray(0, length.total), length.header);
        this.#buffer = this.#buffer.subarray(length.total);
        this.history.push(packet);
        this.#queue.push(packet);
      }
    } catch (fault) {
      this.#fault = fault instanceof Error ? fault : new Error(String(fault));
    }
    this.#wake();
  }

  async #until(isDone: () => boolean, deadlineMs: number, what: string): Promise<void> {
    const endMs = performance.now() + deadlineMs;
    while (!isDone()) {
      if (this.#fault !== undefined) throw this.#fault;
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) throw new assert.AssertionError({ message: `waited ${deadlineMs} ms for ${what}; ${this.#state()}` }); // prettier-ignore
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    if (this.#fault !== undefined) throw this.#fault;
  }

  #state(): string {
    return this.#queue.length === 0 ? 'nothing came' : `got ${this.#queue.map(({ type }) => type).join()}`;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
