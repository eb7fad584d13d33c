/** SUBSCRIBE and UNSUBSCRIBE: each filter of a packet in turn, as if it had come alone [MQTT-3.8.4-5]. */
import type { Client } from './client.js';
import type { Core } from './core.js';
import { decodeSubscribe, decodeUnsubscribe, encodeSuback, encodeUnsuback } from './packets.js';
import { MALFORMED, PROTOCOL_ERROR } from './properties.js';
import type { Session } from './session.js';
import { entryOf } from './subscriptions.js';
import { type ParsedFilter, parseFilter } from './topic.js';

const NOT_AUTHORIZED = 0x87;
const QUOTA_EXCEEDED = 0x97;
const FAILURE = 0x80;
/** A filter of more levels than anybody needs; and how many levels all such filters of a client may have. */
const DEEP = 128;
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
  const parsed: ParsedFilter[] = [];
  for (const { text, options } of request.filters) {
    const filter = parseFilter(text);
    if (filter === null || levelsOf(filter.filter) > core.limits.maxTopicLevels) {
      return fail(client, MALFORMED, 'a topic filter of SUBSCRIBE is not valid');
    }
    if (filter.share !== '' && (options & 4) !== 0) {
      return fail(client, PROTOCOL_ERROR, 'No Local does not go with a shared subscription');
    }
    parsed.push(filter);
  }
  const codes = request.filters.map(({ text, options }, index) => {
    const filter = parsed[index];
    return filter === undefined
      ? FAILURE
      : subscribeOne(core, session, text, filter, options, request.identifier);
  });
  const granted = version === 5 ? codes : codes.map((code) => Math.min(code, FAILURE));
  answer(
    client,
    session,
    granted.some((code) => code < FAILURE),
    (isKept) =>
      encodeSuback(
        version,
        request.packetIdentifier,
        isKept ? granted : granted.map(() => (version === 5 ? QUOTA_EXCEEDED : FAILURE)),
      ),
  );
  return true;
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
  core.lifecycle.subscribe(session, text, entry);
  if (session.isKept) {
    core.store.append({ type: 'Subscribed', session: session.number, filter: text, options, identifier });
  }
  const handling = options >> 4;
  if (parsed.share === '' && (handling === 0 || (handling === 1 && known === undefined))) {
    core.retaining.feed(session, entry);
  }
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
  answer(client, session, codes.includes(0), (isKept) =>
    encodeUnsuback(version, request.packetIdentifier, isKept ? codes : codes.map(() => FAILURE)),
  );
  return true;
}

/** Sends an answer, after the commit when it promises something that is kept. */
function answer(
  client: Client,
  session: Session,
  isChange: boolean,
  encode: (isKept: boolean) => Uint8Array,
): void {
  if (session.isKept && isChange) client.awaitCommit((isKept) => client.send(encode(isKept)));
  else client.send(encode(true));
}

/** Each level costs memory, which a filter of tens of thousands has for a few bytes: all of them are bounded together. */
function isTooDeep(session: Session, filter: string): boolean {
  const levels = levelsOf(filter);
  if (levels <= DEEP) return false;
  let sum = levels;
  for (const { filter: other } of session.subscriptions?.values() ?? []) {
    const more = levelsOf(other);
    if (more > DEEP) sum += more;
  }
  return sum > DEEP_LEVELS_MAX;
}

function levelsOf(filter: string): number {
  let count = 1;
  for (let at = filter.indexOf('/'); at >= 0; at = filter.indexOf('/', at + 1)) count++;
  return count;
}

function fail(client: Client, reason: number, text: string): false {
  client.fail(reason, text);
  return false;
}
