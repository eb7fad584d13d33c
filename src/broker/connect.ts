/** CONNECT: who it is, whether he may, which session is his, what his will is, and the CONNACK. */
import { randomBytes } from 'node:crypto';
import { messageOf } from '../errors.js';
import { type Identity, Rights } from './access.js';
import { Authentication, type AuthenticationMethod } from './authentication.js';
import type { Newcomer } from './client.js';
import type { Core } from './core.js';
import {
  type ConnackProperties,
  type ConnectRequest,
  decodeConnect,
  encodeConnack,
  type Refusal,
} from './packets.js';
import { TOPIC_ALIAS_MAXIMUM } from './publish.js';
import type { Session } from './session.js';
import type { Credentials, Login, Verdict } from './users.js';

const NOT_AUTHORIZED = 0x87;
const SERVER_BUSY = 0x89;
const BAD_AUTHENTICATION_METHOD = 0x8c;
const TAKEN_OVER = 0x8e;
const TOPIC_NAME_INVALID = 0x90;
const QUOTA_EXCEEDED = 0x97;
const CLIENT_IDENTIFIER_NOT_VALID = 0x85;
const NEVER_S = 0xffffffff;
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** 3.1.1 return codes of the reason codes used here. */
const RETURN_CODES = new Map([
  [CLIENT_IDENTIFIER_NOT_VALID, 2],
  [0x86, 4],
  [NOT_AUTHORIZED, 5],
  [SERVER_BUSY, 3],
  [QUOTA_EXCEEDED, 3],
  [TOPIC_NAME_INVALID, 5],
]);

/** A client that keeps nothing here but a will waits so long for a disk that hangs. */
const WILL_KEPT_MS = 1000;

export class Admission {
  readonly #core: Core;
  readonly #login: Login;
  readonly #methods: ReadonlyMap<string, AuthenticationMethod>;
  readonly #mayEnter: (user: string) => boolean;

  /** mayEnter: whether there is a way in for a user; the empty name is who gives none. */
  constructor(
    core: Core,
    login: Login,
    methods: readonly AuthenticationMethod[],
    mayEnter: (user: string) => boolean,
  ) {
    this.#core = core;
    this.#login = login;
    this.#methods = new Map(methods.map((method) => [method.name, method]));
    this.#mayEnter = mayEnter;
  }

  /** The first packet of a connection. Afterwards the client is open, refused, or waits to be one of both. */
  receive(client: Newcomer, bytes: Uint8Array, start: number, body: number, end: number): void {
    const request = decodeConnect(bytes, start, body, end);
    if ('text' in request) {
      this.#core.counters.protocolErrors.value++;
      client.refuse(connackOf(request), request.text);
      return;
    }
    if (request.clientId === '' && request.version === 4 && !request.cleanStart) {
      refuse(
        client,
        request,
        CLIENT_IDENTIFIER_NOT_VALID,
        'an empty client identifier needs a clean session',
      );
      return;
    }
    if (request.authenticationMethod !== null) {
      this.#authenticate(client, request, request.authenticationMethod);
      return;
    }
    const credentials: Credentials = {
      user: request.username,
      password: request.password,
      host: client.host,
      certificateName: client.certificateName,
      isAnonymousAllowed: client.policy.isAnonymousAllowed(),
    };
    const verdict = this.#login.check(credentials);
    if (verdict instanceof Promise) {
      verdict
        .then((late) => this.#decide(client, request, late))
        .catch((error: unknown) => {
          const fields = { client: request.clientId, error: messageOf(error) };
          this.#core.unrest.tell('error', 'login could not be checked', fields, 'login');
          refuse(client, request, SERVER_BUSY, 'the login could not be checked');
        });
    } else this.#decide(client, request, verdict);
  }

  /** Its method decides, whatever user name and password there are. */
  #authenticate(client: Newcomer, request: ConnectRequest, name: string): void {
    const { clientId } = request;
    const applicant = { clientId, host: client.host, certificateName: client.certificateName };
    const method = this.#methods.get(name);
    const exchange = method?.begin(applicant) ?? null;
    if (method === undefined || exchange === null) {
      refuse(client, request, BAD_AUTHENTICATION_METHOD, 'this authentication method is not offered here');
      return;
    }
    client.authentication = new Authentication(
      method,
      exchange,
      applicant,
      client,
      request.maximumPacketBytes,
      (result) => this.#decide(client, request, result),
    );
    client.authentication.begin(request.authenticationData);
  }

  #decide(client: Newcomer, request: ConnectRequest, verdict: Verdict): void {
    if (!client.isOpen) return;
    if ('refused' in verdict) {
      this.#core.counters.refused.value++;
      refuse(client, request, verdict.refused, verdict.text);
      return;
    }
    const clientId = request.clientId === '' ? `auto-${randomBytes(12).toString('hex')}` : request.clientId;
    const identity = { user: verdict.user, groups: verdict.groups, clientId };
    const known = this.#core.lifecycle.sessions.get(clientId);
    // A session belongs to the user that made it: nobody gets another's messages by his client identifier, which is free
    // again once there is no way in for that user any more.
    if (known !== undefined && isOfAnother(known, identity) && this.#mayEnter(known.identity.user)) {
      refuse(client, request, CLIENT_IDENTIFIER_NOT_VALID, 'the client identifier belongs to another user');
      return;
    }
    if (known === undefined && this.#core.lifecycle.sessions.size >= this.#core.limits.maxSessions) {
      refuse(client, request, QUOTA_EXCEEDED, 'there are too many sessions');
      return;
    }
    this.#admit(client, request, clientId, identity, known);
  }

  #admit(
    client: Newcomer,
    request: ConnectRequest,
    clientId: string,
    identity: Identity,
    known: Session | undefined,
  ): void {
    const core = this.#core;
    const { version } = request;
    const expiryS = this.#expiryOf(request);
    // One that ends with its connection is not there any more for the connection that takes it over.
    const isNew =
      request.cleanStart || known === undefined || known.expiryS === 0 || isOfAnother(known, identity);
    const resumed = isNew ? null : known;
    const isPresent = resumed !== null;
    // What the store has already is resumed on a full disk too: fetching the queue is what makes room.
    if (expiryS > 0 && !isPresent && !core.store.isHealthy) {
      refuse(client, request, QUOTA_EXCEEDED, 'the store takes nothing now, so no session can be kept');
      return;
    }
    // Not while it takes nothing at all: what is noted of each attempt waits in memory.
    const isChange = expiryS > 0 || (known !== undefined && known.expiryS > 0);
    if (isChange && !core.store.isHealthy && core.turns.isBacklogged) {
      refuse(client, request, QUOTA_EXCEEDED, 'the disk takes nothing now');
      return;
    }
    const { will } = request;
    if (will !== null && !this.#mayLeave(identity, decoder.decode(will.topic))) {
      core.counters.denied.value++;
      refuse(client, request, NOT_AUTHORIZED, 'no right to publish the will');
      return;
    }
    const keepAliveS = this.#keepAliveOf(request);
    const connack = this.#connack(request, clientId, expiryS, keepAliveS, isPresent, client.authentication);
    if (connack.length > request.maximumPacketBytes) {
      client.refuse(null, 'the client takes no packet of the size of its CONNACK', request);
      return;
    }
    // Nothing was changed up to here: what a CONNECT replaces stays if it is refused (3.1.4).
    known?.holder?.giveUp(TAKEN_OVER);
    if (known !== undefined && !isPresent) core.lifecycle.end(known);
    if (resumed !== null) core.lifecycle.resume(resumed, identity, version, expiryS);
    const session = resumed ?? core.lifecycle.open(clientId, identity, version, expiryS);
    core.lifecycle.setWill(session, will);
    client.hold(session, request, keepAliveS);
    if (!isChange) this.#openSoon(client, session, connack);
    else {
      core.owe(client, (isKept) => {
        if (isKept) client.open(connack);
        else {
          // The will of a connection that is refused is not published, and a session made for it ends with it.
          session.will = null;
          if (!isPresent) core.lifecycle.end(session);
          refuse(client, request, QUOTA_EXCEEDED, 'the session could not be kept');
        }
      });
    }
  }

  /** At once, or when its will is kept: who has the CONNACK counts on it, but needs a disk that hangs for nothing else. */
  #openSoon(client: Newcomer, { willNumber }: Session, connack: Uint8Array): void {
    const { store, clock } = this.#core;
    if (willNumber === 0 || !store.isLasting) {
      client.open(connack);
      return;
    }
    const cancel = clock.after(WILL_KEPT_MS, () => client.open(connack));
    this.#core.owe(client, () => {
      cancel();
      client.open(connack);
    });
  }

  #mayLeave(identity: Identity, topic: string): boolean {
    return topic.charCodeAt(0) !== 0x24 && new Rights(this.#core.lifecycle.access, identity).mayWrite(topic);
  }

  /** 3.1.1 sessions that are not clean are kept as long as any may be. */
  #expiryOf(request: ConnectRequest): number {
    const most = Math.min(this.#core.limits.maxSessionExpiryS, NEVER_S);
    const asked = request.version === 5 ? request.sessionExpiryS : request.cleanStart ? 0 : NEVER_S;
    return Math.min(asked, most);
  }

  #keepAliveOf(request: ConnectRequest): number {
    const { maxKeepAliveS } = this.#core.limits;
    if (request.version === 4 || maxKeepAliveS >= 65535) return request.keepAliveS;
    return request.keepAliveS === 0 ? maxKeepAliveS : Math.min(request.keepAliveS, maxKeepAliveS);
  }

  #connack(
    request: ConnectRequest,
    clientId: string,
    expiryS: number,
    keepAliveS: number,
    isPresent: boolean,
    authentication: Authentication | null,
  ): Uint8Array {
    if (request.version === 4) return encodeConnack(4, 0, isPresent, {});
    const { limits } = this.#core;
    const properties: ConnackProperties = { topicAliasMaximum: TOPIC_ALIAS_MAXIMUM };
    if (expiryS !== request.sessionExpiryS) properties.sessionExpiryInterval = expiryS;
    if (limits.maxInflight < 65535) properties.receiveMaximum = limits.maxInflight;
    if (limits.maxPacketBytes < NEVER_S) properties.maximumPacketSize = limits.maxPacketBytes;
    if (request.clientId === '') properties.assignedClientIdentifier = clientId;
    if (keepAliveS !== request.keepAliveS) properties.serverKeepAlive = keepAliveS;
    if (authentication !== null) {
      properties.authenticationMethod = authentication.method.name;
      if (authentication.data !== null) properties.authenticationData = Buffer.from(authentication.data);
    }
    const connack = encodeConnack(5, 0, isPresent, properties);
    if (connack.length <= request.maximumPacketBytes) return connack;
    // A client that takes only this little is not offered aliases; the rest it must know [MQTT-3.1.2-24].
    delete properties.topicAliasMaximum;
    return encodeConnack(5, 0, isPresent, properties);
  }
}

function isOfAnother(session: Session, { user }: Identity): boolean {
  return session.identity.user !== user;
}

function refuse(client: Newcomer, request: ConnectRequest, reason: number, text: string): void {
  const { version } = request;
  const code = version === 5 ? reason : (RETURN_CODES.get(reason) ?? 5);
  let connack = encodeConnack(version, code, false, version === 5 ? { reasonString: text } : {});
  if (!request.wantsProblemInformation || connack.length > request.maximumPacketBytes) {
    connack = encodeConnack(version, code, false, {});
  }
  client.refuse(connack.length <= request.maximumPacketBytes ? connack : null, text, request);
}

/** A malformed CONNECT of 3.1.1 gets no CONNACK [MQTT-3.1.4-1]; one of version 5 may be told why. */
function connackOf(refusal: Refusal): Uint8Array | null {
  if (refusal.version === 5) return encodeConnack(5, refusal.reason, false, {});
  return refusal.returnCode === 0 ? null : encodeConnack(4, refusal.returnCode, false, {});
}
