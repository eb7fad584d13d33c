/**
 * A rehearsal of what clients will ask for, on a broker of its own that is gone afterwards, so that the first burst after
 * a start (all clients come back, queues drain) meets compiled code: V8 interprets a function until it has run for some
 * while, and a hundred thousand messages are over before that. Clients are real connections over loopback: code that was
 * compiled for anything else would be thrown away when a socket comes.
 */
import type { Clock } from '../clock.js';
import { compileSooner } from '../entry.js';
import type { Store } from '../store/store.js';
import { Broker } from './broker.js';
import type { TopicHandle } from './insiders.js';
import {
  burstOf,
  connectPacket,
  DISCONNECT,
  House,
  PINGREQ,
  RehearsalClient,
  subscribePacket,
  unsubscribePacket,
  type Version,
} from './rehearsalclient.js';

export interface RehearsalOptions {
  readonly clock: Clock;
  /** Of the kind that will be used; it is opened and closed. */
  readonly store: Store;
  /** Another, that takes little memory: some of it lives on. */
  readonly smallStore: Store;
  /** Whether clients will have rules. */
  readonly hasRules: boolean;
}

/** No scene is begun after this long, and one that still goes on after that is broken off. */
const ENOUGH_MS = 250;
const END_MS = 400;
/** Sockets close in the turns that follow; until then they are no garbage. */
const CLOSING_TURNS = 4;
/** Messages of one burst: as many as a client may have unacknowledged. */
const BURST = 100;
/** In the first round everything is only touched: what V8 compiles before it has seen all of it is thrown away again. */
const TOUCH = 12;
const PAYLOAD_BYTES = 64;
const EVERYTHING = {
  user: null,
  group: null,
  client: null,
  allow: ['read', 'write'],
  deny: [],
  topic: '#',
} as const;

/** V8 throws code away with the last of the objects that it was made for: a few of each live on, without a socket. */
const survivors: object[] = [];

/** Plays all scenes again and again, until it has been long enough. What fails is not rehearsed, and nothing else. */
export async function rehearse({ clock, store, smallStore, hasRules }: RehearsalOptions): Promise<void> {
  const enoughMs = clock.monotonicMs() + ENOUGH_MS;
  const access = hasRules ? [EVERYTHING] : null;
  const stageWith = (kept: Store): Stage =>
    new Stage(new Broker({ store: kept, clock, anonymous: true, access, systemIntervalMs: 0 }));
  const small = stageWith(smallStore);
  const large = stageWith(store);
  const clear = (): void => [small, large].forEach((stage) => stage.clear());
  const cancel = clock.after(END_MS, clear);
  let compileAsUsual = (): void => {};
  try {
    for (const stage of [small, large]) await stage.touch(enoughMs);
    survivors.splice(0, Infinity, ...small.broker.connections);
    compileAsUsual = compileSooner();
    for (let round = 1; clock.monotonicMs() < enoughMs; round++) await large.play(round, enoughMs);
  } catch {
    // A machine without a loopback, or one too slow: its own traffic does the rest.
  } finally {
    compileAsUsual();
    cancel();
    clear();
    for (const { broker } of [small, large]) await broker.close();
    for (let i = 0; i < CLOSING_TURNS; i++) await new Promise(setImmediate);
  }
}

type Scene = (stage: Stage, pair: Pair, round: number) => Promise<void>;

/** A sender and a receiver of one version, who stay. */
interface Pair {
  readonly version: Version;
  readonly sender: RehearsalClient;
  readonly receiver: RehearsalClient;
}

class Stage {
  readonly broker: Broker;
  readonly #clients = new Set<RehearsalClient>();
  readonly #bursts = new Map<string, Buffer>();
  #house = new House(0);
  #isCleared = false;
  /** Messages of one burst. */
  count = TOUCH;
  pairs: readonly Pair[] = [];
  handles: readonly TopicHandle[] = [];

  constructor(broker: Broker) {
    this.broker = broker;
  }

  /** Makes ready, and plays every scene for the first time. */
  async touch(enoughMs: number): Promise<void> {
    await this.#set();
    await this.play(0, enoughMs);
    this.count = BURST;
  }

  async #set(): Promise<void> {
    const { broker } = this;
    await broker.open();
    const { url } = await broker.openListener({
      protocol: 'mqtt',
      host: '127.0.0.1',
      port: 0,
      path: '',
      tls: null,
      anonymous: true,
    });
    this.#house = new House(Number(new URL(url).port));
    this.pairs = [await this.#pair(4), await this.#pair(5)];
    this.handles = Array.from({ length: 40 }, (_, i) => broker.handleOf(`own/unit${i % 4}/tag${i}`));
  }

  async #pair(version: Version): Promise<Pair> {
    const sender = await this.enter(version, `sender${version}`);
    const receiver = await this.enter(version, `receiver${version}`);
    for (const filter of [`line${version}/unit/level00`, `line${version}/tags/+`, 'all/#', 'own/#'])
      receiver.send(subscribePacket(version, filter, 2));
    await receiver.got(4);
    return { version, sender, receiver };
  }

  async enter(version: Version, clientId: string, returns = false): Promise<RehearsalClient> {
    if (this.#isCleared) throw new Error('the rehearsal is over');
    const client = new RehearsalClient(this.#house);
    this.#clients.add(client);
    client.send(connectPacket(version, clientId, returns));
    await client.got(1);
    return client;
  }

  leave(client: RehearsalClient): void {
    client.send(DISCONNECT);
    client.end();
    this.#clients.delete(client);
  }

  /** Sends a burst and has it acknowledged; it is built once. */
  async send(
    { version, sender }: Pair,
    topic: string,
    qos: 0 | 1 | 2,
    { topics = 1, retain = false } = {},
  ): Promise<void> {
    const { count } = this;
    const key = `${topic} ${version} ${qos} ${count}`;
    let burst = this.#bursts.get(key);
    if (burst === undefined) {
      burst = burstOf({ version, count, topic, topics, payloadBytes: PAYLOAD_BYTES, qos, retain });
      if (!retain) this.#bursts.set(key, burst);
    }
    sender.send(burst);
    if (qos > 0) await sender.got(count);
  }

  /** Each scene once, as long as there is time. */
  async play(round: number, enoughMs: number): Promise<void> {
    for (const scene of SCENES) {
      for (const pair of this.pairs) {
        if (this.broker.clock.monotonicMs() >= enoughMs) return;
        await scene(this, pair, round);
      }
    }
  }

  clear(): void {
    this.#isCleared = true;
    for (const client of this.#clients) client.end();
    this.#clients.clear();
  }
}

/** From one to one; one topic, and many. Most of what there is comes at QoS 0, and code is made for what is most. */
async function oneToOne(stage: Stage, pair: Pair): Promise<void> {
  for (const qos of [0, 0, 0, 1, 2] as const) {
    await stage.send(pair, `line${pair.version}/unit/level`, qos);
    await stage.send(pair, `line${pair.version}/tags/tag`, qos, { topics: 25 });
    await pair.receiver.got(2 * stage.count);
  }
}

/** Topics that are kept, and one who comes and asks for them. */
async function retained(stage: Stage, pair: Pair, round: number): Promise<void> {
  const { version } = pair;
  const { count } = stage;
  const site = `kept${version}/site${round}`;
  for (let unit = 0; unit < 4; unit++)
    await stage.send(pair, `${site}/unit${unit}/tag`, 1, { topics: count, retain: true });
  const guest = await stage.enter(version, 'guest');
  guest.send(subscribePacket(version, `${site}/#`, 1));
  await guest.got(1 + count * 4);
  stage.leave(guest);
}

/** A queue fills up while its client is away, and drains when he is back. */
async function away(stage: Stage, pair: Pair): Promise<void> {
  const { version } = pair;
  const absent = await stage.enter(version, 'absent', true);
  absent.send(subscribePacket(version, 'queue00', 1));
  await absent.got(1);
  stage.leave(absent);
  for (let i = 0; i < 4; i++) await stage.send(pair, 'queue', 1);
  const back = await stage.enter(version, 'absent', true);
  await back.got(4 * stage.count);
  stage.leave(back);
}

async function oneToAll(stage: Stage, pair: Pair): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    await stage.send(pair, 'all/alarm', qos);
    for (const { receiver } of stage.pairs) await receiver.got(stage.count);
  }
}

/** What pollers publish, to those who read all of it. */
async function samples({ broker, handles, pairs }: Stage, _pair: Pair, round: number): Promise<void> {
  const payload = Buffer.from(JSON.stringify({ value: round, quality: 'good', t: 1_700_000_000_000 }));
  for (const retain of [false, true]) {
    for (const handle of handles) broker.publishSample(handle, payload, 0, payload.length, 0, retain, false);
    broker.sendNow();
  }
  for (const { receiver } of pairs) await receiver.got(2 * handles.length);
}

/** A client comes, looks around and goes. */
async function visit(stage: Stage, { version }: Pair): Promise<void> {
  const visitor = await stage.enter(version, 'visitor');
  const asked = [
    subscribePacket(version, 'visit/unit/tag', 1),
    subscribePacket(version, 'visit/+/tag', 1),
    subscribePacket(version, 'visit/#', 1),
    unsubscribePacket(version, 'visit/#'),
    PINGREQ,
  ];
  visitor.send(Buffer.concat(asked));
  await visitor.got(asked.length);
  stage.leave(visitor);
}

const SCENES: readonly Scene[] = [retained, away, oneToOne, oneToAll, samples, visit];
