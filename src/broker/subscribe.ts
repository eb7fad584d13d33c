/**
 * SUBSCRIBE and UNSUBSCRIBE: each filter of a packet in turn, as if it had come alone [MQTT-3.8.4-5]. A packet may have tens
 * of thousands: it gets so much of each turn of the loop and is answered when it is through.
 */
import type { Client, Work } from './client.js';
import type { Core } from './core.js';
import { decodeSubscribe, decodeUnsubscribe, encodeSuback, encodeUnsuback } from './packets.js';
import { MALFORMED, PROTOCOL_ERROR } from './properties.js';
import type { Session } from './session.js';
import { entryOf } from './subscriptions.js';
import { deepLevelsOf, isDeeper, type ParsedFilter, parseFilter } from './topic.js';

const NOT_AUTHORIZED = 0x87;
const QUOTA_EXCEEDED = 0x97;
const FAILURE = 0x80;
/** How many levels all deep filters of a client may have together. */
const DEEP_LEVELS_MAX = 131_072;
const NO_SUBSCRIPTION_EXISTED = 0x11;

/** Null: the client was failed. */
export function receiveSubscribe(
  core: Core,
  client: Client,
  bytes: Uint8Array,
  body: number,
  end: number,
): Work | null {
  const { session, version } = client;
  if (session === null) return null;
  const request = decodeSubscribe(bytes, body, end, version);
  if (typeof request === 'number') return fail(client, request, 'SUBSCRIBE is not right');
  const { filters, identifier, packetIdentifier } = request;
  const parsed: ParsedFilter[] = [];
  for (const { text, options } of filters) {
    const filter = parseFilter(text);
    if (filter === null || isDeeper(filter.filter, core.limits.maxTopicLevels)) {
      return fail(client, MALFORMED, 'a topic filter of SUBSCRIBE is not valid');
    }
    if (filter.share !== '' && (options & 4) !== 0) {
      return fail(client, PROTOCOL_ERROR, 'No Local does not go with a shared subscription');
    }
    parsed.push(filter);
  }
  const codes: number[] = [];
  let isGranted = false;
  const subscribe = (at: number): void => {
    const { text, options } = filters[at] as (typeof filters)[number]; // one was parsed from each
    const code = subscribeOne(core, session, text, parsed[at] as ParsedFilter, options, identifier);
    if (code < FAILURE) isGranted = true;
    codes.push(version === 5 || code < FAILURE ? code : FAILURE);
  };
  return oneByOne(core, parsed.length, subscribe, () => {
    if (session.isKept && isGranted) awaitSuback(client, version, packetIdentifier, codes);
    else client.send(encodeSuback(version, packetIdentifier, codes));
  });
}

/** What is to be done with each filter of a packet, and then its answer. */
function oneByOne(core: Core, count: number, take: (at: number) => void, answer: () => void): Work {
  const { turns } = core;
  let at = 0;
  return () => {
    while (at < count) {
      take(at++);
      turns.handedOut(1);
      if (at < count && turns.isTurnOverAmid) return false;
    }
    answer();
    return true;
  };
}

/** What it promises is kept first. */
function awaitSuback(client: Client, version: 4 | 5, packetIdentifier: number, codes: number[]): void {
  const refused = version === 5 ? QUOTA_EXCEEDED : FAILURE;
  client.awaitCommit((isKept) =>
    client.send(encodeSuback(version, packetIdentifier, isKept ? codes : codes.map(() => refused))),
  );
}

function subscribeOne(
  core: Core,
  session: Session,
  text: string,
  parsed: ParsedFilter,
  options: number,
  identifier: number,
): number {
  const known = session.subscriptions?.get(text);
  if (!session.rights.maySubscribe(parsed.filter)) {
    core.denials.tell(session, 'subscription', text);
    return NOT_AUTHORIZED;
  }
  const isFull = (session.subscriptions?.size ?? 0) >= core.limits.maxSubscriptionsPerClient;
  if (known === undefined && (isFull || core.isShort || isTooDeep(session, parsed.filter)))
    return QUOTA_EXCEEDED;
  if (session.isKept && !core.store.isHealthy) return QUOTA_EXCEEDED;
  const entry = entryOf(session, parsed, options, identifier);
  core.lifecycle.subscribe(session, text, entry, known);
  const handling = options >> 4;
  if (parsed.share === '' && (handling === 0 || (handling === 1 && known === undefined))) {
    core.retaining.feed(session, entry);
  }
  core.lifecycle.noteSubscription(session, text);
  return entry.qos;
}

/** Null: the client was failed. */
export function receiveUnsubscribe(
  core: Core,
  client: Client,
  bytes: Uint8Array,
  body: number,
  end: number,
): Work | null {
  const { session, version } = client;
  if (session === null) return null;
  const request = decodeUnsubscribe(bytes, body, end, version);
  if (typeof request === 'number') return fail(client, request, 'UNSUBSCRIBE is not right');
  const { filters, packetIdentifier } = request;
  if (filters.some((filter) => parseFilter(filter) === null)) {
    return fail(client, MALFORMED, 'a topic filter of UNSUBSCRIBE is not valid');
  }
  const codes: number[] = [];
  const unsubscribe = (at: number): void => {
    const filter = filters[at] as string; // there are so many
    const wasThere = core.lifecycle.unsubscribe(session, filter);
    if (wasThere && session.isKept)
      core.store.append({ type: 'Unsubscribed', session: session.number, filter });
    codes.push(wasThere ? 0 : NO_SUBSCRIPTION_EXISTED);
  };
  return oneByOne(core, filters.length, unsubscribe, () => {
    if (session.isKept && codes.includes(0)) {
      client.awaitCommit((isKept) =>
        client.send(encodeUnsuback(version, packetIdentifier, isKept ? codes : codes.map(() => FAILURE))),
      );
    } else client.send(encodeUnsuback(version, packetIdentifier, codes));
  });
}

/** Each level costs memory, which a filter of tens of thousands has for a few bytes: all of them are bounded together. */
function isTooDeep(session: Session, filter: string): boolean {
  const levels = deepLevelsOf(filter);
  return levels > 0 && session.deepLevels + levels > DEEP_LEVELS_MAX;
}

function fail(client: Client, reason: number, text: string): null {
  client.fail(reason, text);
  return null;
}
