/**
 * MQTT clients that outlive the broker's death: what they published and was not acknowledged they send again, what they
 * received at QoS 2 they remember, as the standard asks of a client. They keep the books the crash test is judged by.
 */
import { connect, type Socket } from 'node:net';
import mqtt, { type IConnectPacket, type Packet, type QoS } from 'mqtt-packet';
import { until } from '../support/wait.js';

export type Version = 4 | 5;

/** One connection at a time of one client identifier; everything but packets is for those who extend it. */
export abstract class Client {
  readonly clientId: string;
  readonly version: Version;
  readonly #isClean: boolean;
  #socket: Socket | null = null;
  /** A CONNACK came at least once, so the session must be there from now on. */
  #hasSession = false;
  isConnected = false;
  /** What the last CONNACK said of the session. */
  hadSession = false;
  /** What should never have happened. */
  readonly violations: string[] = [];

  constructor(clientId: string, version: Version, isClean = false) {
    this.clientId = clientId;
    this.version = version;
    this.#isClean = isClean;
  }

  /** Connects; false when the broker went away meanwhile. */
  connect(port: number): Promise<boolean> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    const parser = mqtt.parser({ protocolVersion: this.version });
    return new Promise((resolve) => {
      socket.on('error', () => {});
      socket.on('close', () => {
        if (this.#socket === socket) this.isConnected = false;
        resolve(false);
      });
      socket.on('data', (bytes) => parser.parse(bytes));
      parser.on('packet', (packet: Packet) => {
        if (this.#socket !== socket) return;
        if (packet.cmd !== 'connack') return this.received(packet);
        this.#connected(packet.sessionPresent, packet.returnCode ?? packet.reasonCode ?? 0);
        resolve(this.isConnected);
      });
      parser.on('error', (error: Error) => this.violations.push(`${this.clientId}: ${error.message}`));
      this.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: this.version,
        clientId: this.clientId,
        clean: this.#isClean,
        keepalive: 0,
        ...(this.version === 5 ? { properties: { sessionExpiryInterval: this.#isClean ? 0 : 100_000 } } : {}),
        ...this.options(),
      });
    });
  }

  /** Cuts the connection, as a client that loses power does. */
  cut(): void {
    this.#socket?.destroy();
    this.#socket = null;
    this.isConnected = false;
  }

  send(packet: Packet): void {
    if (this.#socket?.writable === true)
      this.#socket.write(mqtt.generate(packet, { protocolVersion: this.version }));
  }

  /** What its CONNECT has beside the usual. */
  protected options(): Partial<IConnectPacket> {
    return {};
  }

  /** The session is there: goes on where it was. */
  protected abstract resumed(): void;
  protected abstract received(packet: Packet): void;

  #connected(sessionPresent: boolean, code: number): void {
    if (code !== 0) {
      this.violations.push(`${this.clientId}: refused with ${code}`);
      return;
    }
    if (this.#hasSession && !this.#isClean && !sessionPresent)
      this.violations.push(`${this.clientId}: session lost`);
    this.#hasSession = true;
    this.hadSession = sessionPresent;
    this.isConnected = true;
    this.resumed();
  }
}

interface Exchange {
  sequence: number;
  topic: string;
  payload: string;
  retain: boolean;
  isReleased: boolean;
}

/** Publishes numbered messages at one QoS, a window at a time. */
export class Publisher extends Client {
  readonly qos: QoS;
  readonly topic: string;
  readonly #window: number;
  #exchanges = new Map<number, Exchange>();
  #nextIdentifier = 1;
  /** How far it may go. */
  limit = 0;
  sent = 0;
  readonly acknowledged: number[] = [];
  refused = 0;

  constructor(clientId: string, version: Version, qos: QoS, window: number) {
    super(clientId, version);
    this.qos = qos;
    this.topic = `crash/${clientId}`;
    this.#window = window;
  }

  get isDone(): boolean {
    return this.#exchanges.size === 0 && this.sent >= this.limit;
  }

  /** What the next message is. */
  protected compose(sequence: number): { topic: string; payload: string; retain: boolean } {
    return { topic: this.topic, payload: `${this.clientId}:${sequence}`, retain: false };
  }

  more(): void {
    while (this.isConnected && this.#exchanges.size < this.#window && this.sent < this.limit) {
      const identifier = this.#nextIdentifier;
      this.#nextIdentifier = (identifier % 65535) + 1;
      if (this.#exchanges.has(identifier)) continue;
      const sequence = ++this.sent;
      const exchange = { sequence, ...this.compose(sequence), isReleased: false };
      this.#exchanges.set(identifier, exchange);
      this.#publish(identifier, exchange, false);
    }
  }

  protected resumed(): void {
    for (const [identifier, exchange] of this.#exchanges) {
      if (exchange.isReleased) this.send({ cmd: 'pubrel', messageId: identifier });
      else this.#publish(identifier, exchange, true);
    }
    this.more();
  }

  protected received(packet: Packet): void {
    if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec' && packet.cmd !== 'pubcomp') return;
    const identifier = packet.messageId ?? 0;
    const exchange = this.#exchanges.get(identifier);
    if (exchange === undefined) return;
    if ((packet.reasonCode ?? 0) >= 0x80 && packet.cmd !== 'pubcomp') {
      this.refused++;
      this.#exchanges.delete(identifier);
    } else if (packet.cmd === 'pubrec') {
      if (!exchange.isReleased) this.acknowledged.push(exchange.sequence);
      exchange.isReleased = true;
      this.send({ cmd: 'pubrel', messageId: identifier });
    } else {
      if (packet.cmd === 'puback') this.acknowledged.push(exchange.sequence);
      this.#exchanges.delete(identifier);
    }
    this.more();
  }

  #publish(identifier: number, { topic, payload, retain }: Exchange, dup: boolean): void {
    this.send({ cmd: 'publish', messageId: identifier, topic, payload, qos: this.qos, retain, dup });
  }
}

/** Sets and deletes retained messages of a few topics. */
export class Retainer extends Publisher {
  static readonly topicCount = 10;

  protected override compose(sequence: number): { topic: string; payload: string; retain: boolean } {
    const isDeletion = sequence % 7 === 0;
    return {
      topic: `ret/${sequence % Retainer.topicCount}`,
      payload: isDeletion ? '' : String(sequence),
      retain: true,
    };
  }

  /** Topics whose retained message is none that may be there: last acknowledged or later. */
  check(found: ReadonlyMap<string, string>): string[] {
    const wrong: string[] = [];
    for (let index = 0; index < Retainer.topicCount; index++) {
      const topic = `ret/${index}`;
      const known = this.acknowledged.filter((sequence) => sequence % Retainer.topicCount === index);
      const allowed = new Set<string>();
      const first = Math.max(0, ...known);
      for (let sequence = first; sequence <= this.sent; sequence++) {
        if (sequence % Retainer.topicCount !== index) continue;
        allowed.add(sequence === 0 ? '' : this.compose(sequence).payload);
      }
      if (first === 0) allowed.add('');
      const value = found.get(topic) ?? '';
      if (!allowed.has(value))
        wrong.push(`retained ${topic} is "${value}", not one of ${[...allowed].join()}`);
    }
    return wrong;
  }
}

/** Subscribes and takes note of what comes. */
export class Subscriber extends Client {
  readonly #filters: string[];
  /** QoS 2 identifiers not yet released. */
  readonly #open = new Set<number>();
  readonly #seen = new Map<string, Set<number>>();
  readonly #highest = new Map<string, number>();
  readonly payloads = new Map<string, string>();
  repeatedOnce = 0;
  isSubscribed = false;

  constructor(clientId: string, version: Version, filters: string[], isClean = false) {
    super(clientId, version, isClean);
    this.#filters = filters;
  }

  has(publisher: string, sequence: number): boolean {
    return this.#seen.get(publisher)?.has(sequence) === true;
  }

  protected resumed(): void {
    if (this.isSubscribed) return;
    const subscriptions = this.#filters.map((topic) => ({ topic, qos: 2 as const }));
    this.send({ cmd: 'subscribe', messageId: 65535, subscriptions });
  }

  protected received(packet: Packet): void {
    if (packet.cmd === 'suback') this.isSubscribed = true;
    if (packet.cmd === 'pubrel') {
      this.#open.delete(packet.messageId ?? 0);
      this.send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 });
    }
    if (packet.cmd !== 'publish') return;
    const { qos, messageId = 0, topic } = packet;
    const payload = packet.payload.toString();
    if (qos < 2 || !this.#open.has(messageId)) this.#note(topic, payload, qos);
    if (qos === 2) this.#open.add(messageId);
    if (qos > 0) this.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId });
  }

  #note(topic: string, payload: string, qos: QoS): void {
    this.payloads.set(topic, payload);
    const [publisher = '', number = ''] = payload.split(':');
    if (!topic.startsWith('crash/')) return;
    const sequence = Number(number);
    const seen = this.#seen.get(publisher) ?? new Set();
    this.#seen.set(publisher, seen);
    const highest = this.#highest.get(publisher) ?? 0;
    if (seen.has(sequence)) {
      if (qos === 2) this.violations.push(`${this.clientId}: ${payload} came twice at QoS 2`);
      else this.repeatedOnce++;
      return;
    }
    if (sequence < highest)
      this.violations.push(`${this.clientId}: ${payload} came after ${publisher}:${highest}`);
    seen.add(sequence);
    this.#highest.set(publisher, Math.max(highest, sequence));
  }
}

/** Subscribes and unsubscribes one filter in turn; another is always there. */
export class Switcher extends Client {
  static readonly topic = 'switch/it';
  static readonly marker = 'switch/marker';
  #acknowledged = false;
  #wanted = false;
  #isPending = false;
  #isReady = false;
  #identifier = 1;
  isSwitching = false;
  switches = 0;
  readonly payloads: string[] = [];

  /** Whether the filter is subscribed; null: nobody can know. */
  get isOn(): boolean | null {
    return this.#isPending ? null : this.#acknowledged;
  }

  protected resumed(): void {
    if (!this.#isReady) {
      this.send({ cmd: 'subscribe', messageId: 60_000, subscriptions: [{ topic: Switcher.marker, qos: 1 }] });
    }
    if (this.#isReady && this.#isPending && this.isSwitching) this.#ask();
  }

  switch(): void {
    if (!this.#isReady || this.#isPending || !this.isConnected) return;
    this.#wanted = !this.#acknowledged;
    this.#isPending = true;
    this.#ask();
  }

  #ask(): void {
    this.#identifier = (this.#identifier % 50_000) + 1;
    const messageId = this.#identifier;
    if (this.#wanted)
      this.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic: Switcher.topic, qos: 1 }] });
    else this.send({ cmd: 'unsubscribe', messageId, unsubscriptions: [Switcher.topic] });
  }

  protected received(packet: Packet): void {
    if (packet.cmd === 'publish') {
      this.payloads.push(packet.payload.toString());
      this.send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
    }
    if (packet.cmd !== 'suback' && packet.cmd !== 'unsuback') return;
    if (packet.messageId === 60_000) this.#isReady = true;
    else if (packet.messageId === this.#identifier && this.#isPending) {
      this.#acknowledged = this.#wanted;
      this.#isPending = false;
      this.switches++;
    }
    if (this.isSwitching) this.switch();
  }
}

/** Resolves when everything the broker did so far is on the disk: an acknowledgement says so. */
export async function settle(port: number, clientId: string): Promise<void> {
  const publisher = new Publisher(clientId, 4, 1, 1);
  publisher.limit = 1;
  await publisher.connect(port);
  await until('an acknowledgement', () => publisher.isDone);
  publisher.cut();
}
