/**
 * Commands: messages on set/ and get/ topics become writes and reads in the pool, and each is answered exactly once.
 * It owns what waits for the field, while a bus gets a new poller too. It keeps no session and no message: a command that is late is refused, never
 * carried out, and one that was retained is nobody's order of this moment.
 */
import type { BrokerApi } from '../broker/broker.js';
import type { Message, Sender, Subscriber } from '../broker/message.js';
import type { Cancel, Clock } from '../clock.js';
import type { Plant, Tag } from '../config/plant.js';
import type { Counter, Metrics } from '../metrics.js';
import { REPLACED } from '../poller/messages.js';
import { type ParcelReader, RESULT_CODES, RESULT_EXCEPTION_BASE, type ResultCode } from '../poller/parcel.js';
import type { PoolApi } from '../poller/pool.js';
import { type CommandKind, CommandTopics } from './commandtopics.js';
import { type CommandText, readCommand } from './payload.js';
import { type MayPublish, type Reply, replyOf } from './reply.js';
import type { Status } from './status.js';

/** How long a command may wait when neither it nor its message says. */
const TTL_DEFAULT_MS = 60_000;
/** Commands that may wait for one bus. */
const WAITING_MAX = 16_384;
/** The field answers by itself; past its expiry and this long after, the gateway answers for it. */
const ANSWER_GRACE_MS = 30_000;
const SWEEP_MS = 1000;

type Code = ResultCode | `EXC_${number}`;

/** What a command is for: a tag, or several that are written at once. */
type Commandable = Pick<Tag, 'index' | 'name' | 'device' | 'ackTopic'> & {
  readonly write: object | null;
};

interface Target {
  readonly tag: Commandable;
  readonly kind: CommandKind;
}

interface Waiting {
  readonly topic: string;
  readonly target: Target;
  readonly text: CommandText;
  readonly reply: Reply;
  readonly sender: Sender | null;
  /** By the broker's clock. */
  readonly expiresAtMs: number;
  /** Earlier ones have lower numbers. */
  readonly turn: number;
}

export interface CommandsOptions {
  readonly broker: BrokerApi;
  readonly pool: Pick<PoolApi, 'read' | 'write'>;
  readonly status: Status;
  readonly mayPublish: MayPublish;
  /** Whether this gateway is the one that writes. */
  readonly isActive: () => boolean;
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export class Commands implements Subscriber {
  readonly #options: CommandsOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #waitingOfBus = new Map<string, number>();
  readonly #accepted: Counter;
  readonly #refused: Counter;
  #topics = new CommandTopics([]);
  /** Tags that are written at once, by the topic of that. */
  #recipes = new Map<string, Target>();
  #filters: readonly string[] = [];
  #prefix = '';
  #correlation = 0;
  #turn = 0;
  /** Names of buses whose poller is being replaced, and what waits for the new one. */
  #heldBuses: ReadonlySet<string> = new Set();
  #held: Waiting[] = [];
  #cancelSweep: Cancel | null = null;

  constructor(options: CommandsOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#accepted = metrics.counter('commands_total', 'Commands handed to the field');
    this.#refused = metrics.counter('commands_refused_total', 'Commands refused by the gateway');
    metrics.gauge('commands_waiting', 'Commands that wait for the field', () => this.#waiting.size);
  }

  /** What waits for a tag that is gone is still answered: the pool answers every correlation it was given. */
  take(plant: Plant): void {
    const { broker } = this.#options;
    const { id, baseTopic, topics } = plant.gateway;
    this.#prefix = `${baseTopic}/${id}/`;
    this.#topics = new CommandTopics(plant.tags);
    this.#recipes = new Map();
    for (const { index, device, group, recipe } of plant.batches) {
      if (recipe === null || group === null) continue;
      const tag = { index, name: group, device, write: recipe, ackTopic: recipe.ackTopic };
      this.#recipes.set(recipe.setTopic, { tag, kind: 'write' });
    }
    const old = this.#filters;
    this.#filters = topics.commandFilters;
    for (const filter of old) if (!this.#filters.includes(filter)) broker.unsubscribe(filter, this);
    for (const filter of this.#filters) if (!old.includes(filter)) broker.subscribe(filter, this);
  }

  /** An answer must not become the next command. */
  takes(topic: string): boolean {
    return this.#targetOf(topic) !== null;
  }

  #targetOf(topic: string): Target | null {
    return this.#recipes.get(topic) ?? this.#topics.find(topic);
  }

  close(): void {
    this.#cancelSweep?.();
    this.#cancelSweep = null;
    for (const filter of this.#filters) this.#options.broker.unsubscribe(filter, this);
    this.#filters = [];
    for (const waiting of this.#held.splice(0))
      this.#answer(waiting, 'OFFLINE', 'the gateway is stopping', null);
  }

  deliver(message: Message): void {
    const { broker, mayPublish } = this.#options;
    const target = this.#targetOf(message.topic);
    const reply = replyOf(message, target?.tag.ackTopic ?? this.#ackTopicOf(message.topic), mayPublish);
    const text = readCommand(message.payload);
    const nowMs = broker.clock.nowMs();
    const expiresAtMs = Math.min(
      message.expiresAtMs ?? Infinity,
      text.ttlMs === null && message.expiresAtMs !== undefined
        ? Infinity
        : nowMs + (text.ttlMs ?? TTL_DEFAULT_MS),
    );
    const { sender } = message;
    if (target === null) {
      this.#refused.value += 1;
      this.#send(reply, text.id, 'UNKNOWN_TAG', 'no tag has this topic', null);
      return;
    }
    const { topic, retain } = message;
    this.#turn += 1;
    this.#pass({ topic, target, text, reply, sender, expiresAtMs, turn: this.#turn }, retain, nowMs);
  }

  /** From now on commands for these buses wait until what this returns is called: then they go to the tags of that day. */
  hold(busNames: Iterable<string>): () => void {
    this.#heldBuses = new Set(busNames);
    return () => {
      this.#heldBuses = new Set();
      const held = this.#held.sort((a, b) => a.turn - b.turn);
      this.#held = [];
      for (const waiting of held) this.#release(waiting);
    };
  }

  #release(waiting: Waiting): void {
    this.#count(waiting, -1);
    const target = this.#targetOf(waiting.topic);
    if (target !== null) this.#pass({ ...waiting, target }, false, this.#options.broker.clock.nowMs());
    else this.#answer(waiting, 'UNKNOWN_TAG', 'no tag has this topic any more', null);
  }

  /** Refuses a command, or hands it on. */
  #pass(waiting: Waiting, isRetained: boolean, nowMs: number): void {
    const refusal = this.#refusalOf(waiting, isRetained, nowMs);
    if (refusal !== null) {
      this.#refused.value += 1;
      this.#answer(waiting, refusal[0], refusal[1], null);
    } else if (this.#heldBuses.has(busOf(waiting))) this.#keep(waiting);
    else this.#hand(waiting, waiting.expiresAtMs - nowMs);
  }

  #keep(waiting: Waiting): void {
    this.#count(waiting, 1);
    this.#held.push(waiting);
  }

  #count(waiting: Waiting, change: 1 | -1): void {
    const bus = busOf(waiting);
    this.#waitingOfBus.set(bus, (this.#waitingOfBus.get(bus) ?? 0) + change);
  }

  /** Results from the pool; one that nobody waits for any more has been answered. */
  results(parcel: ParcelReader): void {
    while (parcel.next()) {
      const waiting = this.#waiting.get(parcel.correlation);
      if (waiting === undefined) continue;
      this.#forget(parcel.correlation, waiting);
      const { code } = parcel;
      const payload = Buffer.from(parcel.payload).toString();
      if (code === 0) this.#answer(waiting, 'OK', '', payload === '' ? null : payload);
      // Said only of what never left the old poller.
      else if (payload === REPLACED && this.#heldBuses.has(busOf(waiting))) this.#keep(waiting);
      else this.#answer(waiting, codeOf(code), payload, null);
    }
  }

  #refusalOf({ target, text, expiresAtMs }: Waiting, retain: boolean, nowMs: number): [Code, string] | null {
    if (retain) return ['RETAINED', 'commands are never retained; publish without the retain flag'];
    if (expiresAtMs <= nowMs) return ['EXPIRED', 'the command came after its time to live'];
    if (!this.#options.isActive()) return ['OFFLINE', 'another gateway of the group is the active one'];
    if (target.kind === 'write') {
      if (text.error !== null) return ['TYPE', text.error];
      if (text.value === null) return ['TYPE', 'no value; send 55 or {"v":55}'];
      if (target.tag.write === null)
        return ['READ_ONLY', 'this tag is not written; give it write: in the config'];
    }
    const busy = (this.#waitingOfBus.get(target.tag.device.bus.name) ?? 0) >= WAITING_MAX;
    return busy ? ['BUSY', `${WAITING_MAX} commands wait for this bus already`] : null;
  }

  #hand(waiting: Waiting, ttlMs: number): void {
    const { pool } = this.#options;
    const { tag, kind } = waiting.target;
    const correlation = this.#nextCorrelation();
    this.#waiting.set(correlation, waiting);
    this.#count(waiting, 1);
    this.#accepted.value += 1;
    this.#armSweep();
    if (kind === 'read') pool.read(tag.index, correlation, ttlMs);
    else pool.write(tag.index, correlation, ttlMs, Buffer.from(waiting.text.value ?? 'null'));
  }

  #nextCorrelation(): number {
    do this.#correlation = (this.#correlation + 1) >>> 0;
    while (this.#waiting.has(this.#correlation));
    return this.#correlation;
  }

  #forget(correlation: number, waiting: Waiting): void {
    this.#waiting.delete(correlation);
    this.#count(waiting, -1);
  }

  #armSweep(): void {
    this.#cancelSweep ??= this.#options.clock.after(SWEEP_MS, () => this.#sweep());
  }

  #sweep(): void {
    this.#cancelSweep = null;
    const lateMs = this.#options.broker.clock.nowMs() - ANSWER_GRACE_MS;
    for (const [correlation, waiting] of this.#waiting) {
      if (waiting.expiresAtMs > lateMs) continue;
      this.#forget(correlation, waiting);
      this.#answer(waiting, 'TIMEOUT', 'the field has not said how it went', null);
    }
    if (this.#waiting.size > 0) this.#armSweep();
  }

  #answer(waiting: Waiting, code: Code, error: string, value: string | null): void {
    const { target, text, reply } = waiting;
    this.#send(reply, text.id, code, error, value);
    if (target.kind === 'read') return;
    this.#audit(waiting, code);
  }

  /** Who ordered what, and how it went. */
  #audit({ target, text, sender }: Waiting, code: Code): void {
    const { status, clock } = this.#options;
    const fields = JSON.stringify({
      t: clock.nowMs(),
      device: target.tag.device.name,
      tag: target.tag.name,
      ok: code === 'OK',
      ...(code === 'OK' ? {} : { code }),
      user: sender?.user ?? '',
      client: sender?.clientId ?? 'gateway',
      address: sender?.address ?? 'gateway',
    });
    status.eventText('write', `${fields.slice(0, -1)},"asked":${text.value ?? 'null'}}`);
  }

  /** id and value are JSON texts already, so that a number keeps every digit. */
  #send(reply: Reply, id: string | null, code: Code, error: string, value: string | null): void {
    const { broker, clock } = this.#options;
    const members: string[] = [];
    if (id !== null) members.push(`"id":${id}`);
    members.push(`"ok":${code === 'OK'}`);
    if (value !== null) members.push(`"v":${value}`);
    if (code !== 'OK') members.push(`"code":"${code}"`, `"error":${JSON.stringify(error)}`);
    members.push(`"t":${clock.nowMs()}`);
    broker.publish({
      topic: reply.topic,
      payload: Buffer.from(`{${members.join(',')}}`),
      qos: 1,
      retain: false,
      sender: null,
      ...(reply.properties === undefined ? {} : { properties: reply.properties }),
    });
  }

  /** The answer's topic of a command on a tag that is not there. */
  #ackTopicOf(topic: string): string {
    const prefix = this.#prefix;
    const rest = topic.startsWith(prefix) ? topic.slice(topic.indexOf('/', prefix.length) + 1) : topic;
    return `${prefix}ack/${rest}`;
  }
}

function busOf({ target }: Waiting): string {
  return target.tag.device.bus.name;
}

function codeOf(code: number): Code {
  if (code >= RESULT_EXCEPTION_BASE) return `EXC_${code - RESULT_EXCEPTION_BASE}`;
  return RESULT_CODES[code] ?? 'OFFLINE';
}
