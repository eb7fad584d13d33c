/**
 * PUBLISH and PUBREL from a client. The hot path: parts are read by their offsets in the read buffer, the route is
 * found by the topic's bytes, and QoS 0 packets of one topic that follow each other are handed on as one run, as they
 * came. An object is built only where something keeps or inspects the message.
 */
import type { Client } from './client.js';
import { PUBACK, PUBCOMP, PUBREC, PublishWriter } from './codec.js';
import type { Core } from './core.js';
import { emptyIncoming } from './incoming.js';
import { IN, MALFORMED, PROPERTY, PROTOCOL_ERROR, PropertyWalk, withoutHopProperties } from './properties.js';
import type { Receiver, Route } from './route.js';
import type { Session } from './session.js';
import { Unheard } from './unheard.js';

/** Topic aliases that one client may set. */
export const TOPIC_ALIAS_MAXIMUM = 64;

const NOT_AUTHORIZED = 0x87;
const RECEIVE_MAXIMUM_EXCEEDED = 0x93;
const TOPIC_ALIAS_INVALID = 0x94;
const QUOTA_EXCEEDED = 0x97;
const NO_SUBSCRIBERS = 0x10;
const IDENTIFIER_NOT_FOUND = 0x92;
const EMPTY = new Uint8Array(0);
const NOBODY: readonly Receiver[] = [];

/** QoS 0 packets of one client to one topic, one behind the other in the read buffer. */
interface Run {
  client: Client | null;
  route: Route | null;
  /** The route's when the run began: it may have let go of them by its end. */
  receivers: readonly Receiver[];
  bytes: Uint8Array;
  start: number;
  end: number;
  count: number;
  longest: number;
}

export class Publishing {
  readonly #core: Core;
  readonly #walk = new PropertyWalk();
  readonly #writer = new PublishWriter();
  readonly #run: Run = {
    client: null,
    route: null,
    receivers: NOBODY,
    bytes: EMPTY,
    start: 0,
    end: 0,
    count: 0,
    longest: 0,
  };
  readonly #incoming = emptyIncoming();
  readonly #unheard: Unheard;

  constructor(core: Core) {
    this.#core = core;
    this.#unheard = new Unheard(core);
  }

  /** One PUBLISH, its first byte at start, its body at `body`. False: the client was failed. */
  receive(client: Client, bytes: Uint8Array, start: number, body: number, end: number): boolean {
    const { session } = client;
    if (session === null) return false;
    const first = bytes[start] ?? 0;
    const topicStart = body + 2;
    const topicEnd = topicStart + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
    if (topicEnd > end || topicStart > end)
      return fail(client, MALFORMED, 'PUBLISH is shorter than its topic');
    const { counters } = this.#core;
    counters.publishReceived.value++;
    if (first === 0x30) {
      let next = topicEnd;
      // Version 5 without properties, and 3.1.1, can be handed on without a further look.
      if (client.version === 4 || (topicEnd < end && bytes[topicEnd] === 0 && topicEnd > topicStart)) {
        if (client.version === 5) next++;
        const route = this.#routeOf(client, session, bytes, topicStart, topicEnd);
        if (route === null) return fail(client, MALFORMED, 'PUBLISH has no valid topic');
        if (!client.mayWriteLast) {
          this.#deny(session, route);
          return true;
        }
        if (route.isPlain) {
          counters.publishBytesReceived.value += end - next;
          this.#extend(client, route, bytes, start, end);
          return true;
        }
      }
    }
    return this.#receiveWhole(client, session, bytes, first, topicStart, topicEnd, end);
  }

  /** The route of a topic, the client's last one first; sets client.mayWriteLast. */
  #routeOf(client: Client, session: Session, bytes: Uint8Array, start: number, end: number): Route | null {
    const last = client.lastRoute;
    const { routing } = this.#core;
    if (last !== null && last.epoch === routing.epoch && last.isTopic(bytes, start, end)) return last;
    if (!session.rights.writesAll || !routing.isUnreached(bytes, start, end))
      return this.#ownRouteOf(client, session, bytes, start, end);
    client.lastRoute = null;
    client.mayWriteLast = true;
    return routing.nowhere;
  }

  #ownRouteOf(client: Client, session: Session, bytes: Uint8Array, start: number, end: number): Route | null {
    const route = this.#core.routing.find(bytes, start, end);
    if (route !== null) this.#mayWrite(client, session, route);
    return route;
  }

  #mayWrite(client: Client, session: Session, route: Route): void {
    client.lastRoute = route;
    client.mayWriteLast = !route.isSystem && session.rights.mayWrite(route.topic);
  }

  // ---------------------------------------------------------------- runs

  #extend(client: Client, route: Route, bytes: Uint8Array, start: number, end: number): void {
    const run = this.#run;
    this.#core.turns.putOut(route.receivers.length * (end - start));
    if (run.client === client && run.route === route && run.end === start && run.bytes === bytes) {
      run.end = end;
      run.count++;
      if (end - start > run.longest) run.longest = end - start;
      return;
    }
    if (run.client !== null) this.flush();
    run.client = client;
    run.route = route;
    run.receivers = route.receivers;
    run.bytes = bytes;
    run.start = start;
    run.end = end;
    run.count = 1;
    run.longest = end - start;
  }

  /** Hands on the run that is collected. Must be called before the bytes it lies in are used again. */
  flush(): void {
    const run = this.#run;
    const { client, receivers } = run;
    if (client === null) return;
    run.client = null;
    run.route = null;
    run.receivers = NOBODY;
    this.#core.turns.handedOut(receivers.length);
    let sharedAt = -1;
    let other: Translated | null = null;
    for (let i = 0; i < receivers.length; i++) {
      let receiver = receivers[i];
      if (receiver === undefined) continue;
      if (receiver.own !== undefined && receiver.session === client.session) {
        if (receiver.own === null) continue;
        receiver = receiver.own;
      }
      const { link } = receiver.session;
      if (link === null) continue;
      if (link.isFull) {
        this.#core.counters.dropped.value += run.count;
        continue;
      }
      // A translated packet is at most two bytes longer.
      if (receiver.identifiers.length > 0 || run.longest + 2 > link.maxPacketBytes) {
        this.#oneByOne(receiver, client.version);
        continue;
      }
      if (link.version !== client.version) {
        other ??= this.#translate(client.version);
        link.outbox.appendSlice(other.buffer, other.start, other.end);
      } else if (receivers.length === 1) link.outbox.append(run.bytes, run.start, run.end);
      else {
        const { arena } = this.#core.turns;
        if (sharedAt < 0) {
          sharedAt = arena.reserve(run.end - run.start);
          arena.buffer.set(run.bytes.subarray(run.start, run.end), sharedAt);
          this.#sharedBuffer = arena.buffer;
        }
        link.outbox.appendSlice(this.#sharedBuffer, sharedAt, sharedAt + run.end - run.start);
      }
      this.#core.counters.publishSent.value += run.count;
      this.#core.counters.publishBytesSent.value += run.end - run.start;
    }
  }

  #sharedBuffer: Buffer = Buffer.alloc(0);

  /** The run for clients of the other version: the empty property length is put in, or taken out. */
  #translate(version: 4 | 5): Translated {
    const { bytes, start, end, count } = this.#run;
    const { arena } = this.#core.turns;
    const most = end - start + count * 2;
    const to = arena.reserve(most);
    const { buffer } = arena;
    const writer = this.#writer;
    let at = to;
    for (let frame = start; frame < end;) {
      const next = this.#partsOf(bytes, frame, version);
      writer.reset(version === 4 ? 5 : 4, 0, false);
      writer.length(this.#incoming);
      at = writer.write(buffer, at, this.#incoming);
      frame = next;
    }
    return { buffer, start: to, end: at };
  }

  /** The run for a client that cannot take it as it is. */
  #oneByOne(receiver: Receiver, version: 4 | 5): void {
    const { bytes, start, end } = this.#run;
    for (let frame = start; frame < end;) {
      const next = this.#partsOf(bytes, frame, version);
      receiver.session.sendAtMostOnce(this.#incoming, false, receiver.identifiers);
      frame = next;
    }
  }

  /** Notes the parts of a packet of the run; answers where the next begins. */
  #partsOf(bytes: Uint8Array, start: number, version: 4 | 5): number {
    let body = start + 1;
    let remaining = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[body++] ?? 0;
      remaining |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    const incoming = this.#incoming;
    incoming.topic = bytes;
    incoming.topicStart = body + 2;
    incoming.topicEnd = body + 2 + (((bytes[body] ?? 0) << 8) | (bytes[body + 1] ?? 0));
    incoming.properties = EMPTY;
    incoming.propertiesStart = incoming.propertiesEnd = 0;
    incoming.payload = bytes;
    incoming.payloadStart = incoming.topicEnd + (version === 5 ? 1 : 0);
    incoming.payloadEnd = body + remaining;
    incoming.expiresAtMs = 0;
    incoming.position = 0;
    return incoming.payloadEnd;
  }

  // ---------------------------------------------------------------- everything else

  #receiveWhole(
    client: Client,
    session: Session,
    bytes: Uint8Array,
    first: number,
    topicStart: number,
    topicEnd: number,
    end: number,
  ): boolean {
    if (this.#run.client !== null) this.flush();
    const qos = ((first >> 1) & 3) as 0 | 1 | 2;
    const incoming = this.#incoming;
    let at = topicEnd;
    incoming.packetIdentifier = 0;
    if (qos > 0) {
      if (at + 2 > end) return fail(client, MALFORMED, 'PUBLISH has no packet identifier');
      incoming.packetIdentifier = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      if (incoming.packetIdentifier === 0) return fail(client, PROTOCOL_ERROR, 'packet identifier is 0');
      at += 2;
    }
    incoming.properties = EMPTY;
    incoming.propertiesStart = incoming.propertiesEnd = 0;
    incoming.expiresAtMs = 0;
    let alias = 0;
    if (client.version === 5) {
      const refused = this.#properties(bytes, at, end);
      if (refused !== 0) return fail(client, refused, 'PUBLISH has a property that is not right');
      alias = this.#walk.numberOf(PROPERTY.topicAlias, 0);
      if (this.#walk.has(PROPERTY.topicAlias) && (alias === 0 || alias > TOPIC_ALIAS_MAXIMUM)) {
        return fail(client, TOPIC_ALIAS_INVALID, `topic alias is outside 1..${TOPIC_ALIAS_MAXIMUM}`);
      }
      at = this.#walk.next;
    }
    const route = this.#aliasedRoute(client, session, bytes, topicStart, topicEnd, alias);
    if (typeof route === 'number') return fail(client, route, 'PUBLISH has no valid topic');
    const isNowhere = route === this.#core.routing.nowhere;
    incoming.topic = isNowhere ? bytes : route.bytes;
    incoming.topicStart = isNowhere ? topicStart : 0;
    incoming.topicEnd = isNowhere ? topicEnd : route.bytes.length;
    incoming.payload = bytes;
    incoming.payloadStart = at;
    incoming.payloadEnd = end;
    incoming.position = 0;
    incoming.qos = qos;
    incoming.retain = (first & 1) === 1;
    incoming.from = session;
    incoming.isStored = true;
    this.#core.counters.publishBytesReceived.value += end - at;
    if (qos === 0) {
      if (client.mayWriteLast) this.#publishOnce(client, route);
      else this.#deny(session, route);
      return true;
    }
    return qos === 1 ? this.#receiveOnce(client, route) : this.#receiveTwice(client, session, route);
  }

  /** Walks the properties and notes what is to be forwarded; answers the reason to refuse, or 0. */
  #properties(bytes: Uint8Array, at: number, end: number): number {
    const walk = this.#walk;
    const refused = walk.walk(bytes, at, end, IN.publish);
    if (refused !== 0) return refused;
    // A client never sends a subscription identifier [MQTT-3.3.4-6].
    if (walk.has(PROPERTY.subscriptionIdentifier)) return PROTOCOL_ERROR;
    if (walk.count === 0) return 0;
    const incoming = this.#incoming;
    if (walk.has(PROPERTY.messageExpiry)) {
      incoming.expiresAtMs = this.#core.clock.nowMs() + walk.numberOf(PROPERTY.messageExpiry, 0) * 1000;
    }
    if (walk.has(PROPERTY.messageExpiry) || walk.has(PROPERTY.topicAlias)) {
      incoming.properties = withoutHopProperties(bytes, walk.start, walk.next);
      incoming.propertiesEnd = incoming.properties.length;
    } else {
      incoming.properties = bytes;
      incoming.propertiesStart = walk.start;
      incoming.propertiesEnd = walk.next;
    }
    return 0;
  }

  /** The route by topic or alias, or the reason to refuse. An alias is set before anything else happens. */
  #aliasedRoute(
    client: Client,
    session: Session,
    bytes: Uint8Array,
    start: number,
    end: number,
    alias: number,
  ): Route | number {
    if (start === end && alias > 0) {
      const known = client.aliases?.[alias];
      if (known === undefined) return PROTOCOL_ERROR;
      this.#core.routing.refresh(known);
      this.#mayWrite(client, session, known);
      return known;
    }
    const route =
      alias > 0
        ? this.#ownRouteOf(client, session, bytes, start, end)
        : this.#routeOf(client, session, bytes, start, end);
    if (route === null) return start === end ? PROTOCOL_ERROR : MALFORMED;
    if (alias > 0) (client.aliases ??= [])[alias] = route;
    return route;
  }

  #deny(session: Session | null, { topic }: Route): void {
    this.#core.counters.denied.value++;
    if (session !== null) this.#core.denials.tell(session, 'publication', topic);
  }

  /** Nobody acknowledges it, but its retained copy waits for the disk: the sender must not outrun that. */
  #publishOnce(client: Client, route: Route): void {
    const outcome = this.#core.delivery.publish(this.#incoming, route);
    if (outcome === 'owed' && this.#core.turns.isBacklogged) client.awaitCommit(() => {});
  }

  #receiveOnce(client: Client, route: Route): boolean {
    const incoming = this.#incoming;
    const { packetIdentifier } = incoming;
    if (!this.#begin(client)) {
      return fail(client, RECEIVE_MAXIMUM_EXCEEDED, 'more messages in flight than Receive Maximum allows');
    }
    if (!client.mayWriteLast) {
      this.#deny(client.session, route);
      client.acknowledge(PUBACK, packetIdentifier, NOT_AUTHORIZED, false);
      return true;
    }
    if (this.#unheard.has(client)) return true;
    const outcome = this.#core.delivery.publish(incoming, route);
    if (outcome === 'refused') {
      if (client.version === 5) client.acknowledge(PUBACK, packetIdentifier, QUOTA_EXCEEDED, false);
      else this.#unheard.add(client);
      return true;
    }
    client.acknowledge(
      PUBACK,
      packetIdentifier,
      outcome === 'unmatched' ? NO_SUBSCRIBERS : 0,
      outcome === 'owed',
    );
    return true;
  }

  #receiveTwice(client: Client, session: Session, route: Route): boolean {
    const incoming = this.#incoming;
    const { packetIdentifier } = incoming;
    const known = session.incoming;
    // A second copy is answered like the first, and goes no further [MQTT-4.3.3-10], but to where the first may not have come.
    if (known !== null && known.has(packetIdentifier)) {
      const isDoubtful = session.doubtfulIncoming?.delete(packetIdentifier) === true;
      if (isDoubtful && client.mayWriteLast) this.#core.delivery.keepElsewhere(incoming, route);
      client.acknowledge(PUBREC, packetIdentifier, 0, session.isKept);
      return true;
    }
    if (!this.#begin(client)) {
      return fail(client, RECEIVE_MAXIMUM_EXCEEDED, 'more messages in flight than Receive Maximum allows');
    }
    if (!client.mayWriteLast) {
      this.#deny(session, route);
      if (client.version === 4) (session.incoming ??= new Set()).add(packetIdentifier);
      client.acknowledge(PUBREC, packetIdentifier, NOT_AUTHORIZED, false);
      return true;
    }
    if (this.#unheard.has(client)) return true;
    const outcome = this.#core.delivery.publish(incoming, route);
    if (outcome === 'refused') {
      if (client.version === 5) client.acknowledge(PUBREC, packetIdentifier, QUOTA_EXCEEDED, false);
      else this.#unheard.add(client);
      return true;
    }
    (session.incoming ??= new Set()).add(packetIdentifier);
    client.acknowledge(
      PUBREC,
      packetIdentifier,
      outcome === 'unmatched' ? NO_SUBSCRIBERS : 0,
      outcome === 'owed',
    );
    return true;
  }

  /** Counts a message that comes for the first time. Only version 5 is told a Receive Maximum [MQTT-3.3.4-7]. */
  #begin(client: Client): boolean {
    if (client.version === 4) return true;
    if (client.unfinishedCount >= Math.min(this.#core.limits.maxInflight, 65535)) return false;
    client.unfinishedCount++;
    return true;
  }

  /** PUBREL: the identifier is free again. */
  release(client: Client, packetIdentifier: number): void {
    const { session } = client;
    if (session === null) return;
    session.doubtfulIncoming?.delete(packetIdentifier);
    const wasKnown = session.incoming?.delete(packetIdentifier) === true;
    if (!wasKnown) {
      client.acknowledge(PUBCOMP, packetIdentifier, IDENTIFIER_NOT_FOUND, false);
      return;
    }
    if (session.isKept) {
      this.#core.store.append({ type: 'Released', session: session.number, packetIdentifier });
      this.#core.turns.schedule();
    }
    client.acknowledge(PUBCOMP, packetIdentifier, 0, session.isKept);
  }
}

interface Translated {
  buffer: Buffer;
  start: number;
  end: number;
}

function fail(client: Client, reason: number, text: string): false {
  client.fail(reason, text);
  return false;
}
