/** SUBSCRIBE and UNSUBSCRIBE: each filter of a packet in turn, as if it had come alone [MQTT-3.8.4-5]. */
import type { Client } from './client.js';
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

/** False: the client was failed. */
export function receiveSubscribe(
  core: Core,
  client: Client,
  bytes: Uint8Array,
  body: number,
  end: number,
): boolean {
  const { session, version } = client;
  if (session === null) return false;
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
  core.turns.handedOut(parsed.length);
  // In plain loops: devices come back by the thousand, each with a SUBSCRIBE a topic.
  const codes: number[] = [];
  let isGranted = false;
  for (let i = 0; i < parsed.length; i++) {
    const { text, options } = filters[i] as (typeof filters)[number]; // one was parsed from each
    const code = subscribeOne(core, session, text, parsed[i] as ParsedFilter, options, identifier);
    if (code < FAILURE) isGranted = true;
    codes.push(version === 5 || code < FAILURE ? code : FAILURE);
  }
  if (session.isKept && isGranted) awaitSuback(client, version, packetIdentifier, codes);
  else client.send(encodeSuback(version, packetIdentifier, codes));
  return true;
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
  if (!session.rights.maySubscribe(parsed.filter)) return NOT_AUTHORIZED;
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

/** False: the client was failed. */
export function receiveUnsubscribe(
  core: Core,
  client: Client,
  bytes: Uint8Array,
  body: number,
  end: number,
): boolean {
  const { session, version } = client;
  if (session === null) return false;
  const request = decodeUnsubscribe(bytes, body, end, version);
  if (typeof request === 'number') return fail(client, request, 'UNSUBSCRIBE is not right');
  if (request.filters.some((filter) => parseFilter(filter) === null)) {
    return fail(client, MALFORMED, 'a topic filter of UNSUBSCRIBE is not valid');
  }
  const codes = request.filters.map((filter) => {
    if (!core.lifecycle.unsubscribe(session, filter)) return NO_SUBSCRIPTION_EXISTED;
    if (session.isKept) core.store.append({ type: 'Unsubscribed', session: session.number, filter });
    return 0;
  });
  const { packetIdentifier } = request;
  if (session.isKept && codes.includes(0)) {
    client.awaitCommit((isKept) =>
      client.send(encodeUnsuback(version, packetIdentifier, isKept ? codes : codes.map(() => FAILURE))),
    );
  } else client.send(encodeUnsuback(version, packetIdentifier, codes));
  return true;
}

/** Each level costs memory, which a filter of tens of thousands has for a few bytes: all of them are bounded together. */
function isTooDeep(session: Session, filter: string): boolean {
  const levels = deepLevelsOf(filter);
  return levels > 0 && session.deepLevels + levels > DEEP_LEVELS_MAX;
}

function fail(client: Client, reason: number, text: string): false {
  client.fail(reason, text);
  return false;
}
