/**
 * The page's one connection: an MQTT 5 client over WebSocket under the rights of whoever signed in. It comes back by
 * itself, and while it is away the page says so. Management verbs and commands are answered on response topics.
 */
import { signal } from '@preact/signals';
import { setClockBy } from './clock.js';
import { say } from './language.js';
import { MqttClient, matches, type Received, TOO_LARGE } from './mqtt.js';
import { plant, setPlant, takeMessage, type PlantAbout } from './plant.js';

export interface LinkState {
  readonly state: 'connecting' | 'live' | 'lost' | 'sign-in' | 'refused' | 'setup';
  /** When it was lost, ms since 1970; 0: it never was live. */
  readonly sinceMs: number;
  readonly isSignedIn: boolean;
}

interface About {
  readonly gateway: string;
  /** What topics of each kind begin with. */
  readonly topics: Readonly<Record<TopicKind, string>>;
  readonly anonymous: boolean;
  readonly needsSetup?: boolean;
}

type TopicKind = 'event' | 'req' | 'res' | 'trace';

export interface Ack {
  readonly ok: boolean;
  readonly v?: unknown;
  readonly code?: string;
  readonly error?: string;
}

class Denied extends Error {}

type Handler = (topic: string, payload: Uint8Array) => void;

const ANSWER_TIMEOUT_MS = 10_000;
const RETRY_MAX_MS = 10_000;
/** Between a sign that the gateway may be another one and the question whether it is. */
const LOOK_AGAIN_MS = 2000;
const KEPT_AS = 'credentials';

export const link = signal<LinkState>({ state: 'connecting', sinceMs: 0, isSignedIn: false });
export const gatewayName = signal('');
/** Whether the rights of whoever signed in let him know what tags there are. */
export const isPlantDenied = signal(false);

const encoder = new TextEncoder();
const subscriptions = new Map<string, Set<Handler>>();
const waiting = new Map<string, (payload: Uint8Array) => void>();
let about: About | null = null;
let client: MqttClient | null = null;
let credentials: { user: string; password: string } | null = kept();
let retryMs = 500;
let sequence = 0;
let isLookingAgain = false;
let responseTopic = '';

/** Asks the server who it is, then connects; both are tried until they work. */
export async function start(): Promise<void> {
  try {
    const answer = await fetch('/about.json', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    setClockBy(answer);
    take((await answer.json()) as About);
  } catch {
    again();
  }
}

/** Asked for each connection: while it was lost, the gateway may have become another. */
function take(fresh: About): void {
  const isFirst = about === null;
  if (!isFirst && identityOf(fresh) !== identityOf(about)) return location.reload();
  about = fresh;
  gatewayName.value = about.gateway;
  document.title = `${about.gateway} – holdfast`;
  if (isFirst) subscribe(topicOf('event', 'config'), askPlant);
  if (about.needsSetup === true) link.value = { ...link.value, state: 'setup' };
  else if (!about.anonymous && credentials === null) link.value = { ...link.value, state: 'sign-in' };
  else connect();
}

/** A reload may have made it one that tells and answers on other topics, on which nothing comes here any more. */
function lookAgain(): void {
  if (isLookingAgain) return;
  isLookingAgain = true;
  setTimeout(() => {
    fetch('/about.json', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
      .then((answer) => answer.json())
      .then((fresh: About) => {
        if (identityOf(fresh) !== identityOf(about)) location.reload();
      })
      .catch(() => undefined) // the connection tells that it is away
      .finally(() => (isLookingAgain = false));
  }, LOOK_AGAIN_MS);
}

function identityOf(about: About | null): string {
  return JSON.stringify([about?.gateway, about?.topics]);
}

/** Makes the first user and signs in as that; resolves with null, or why not, when there is still none. */
export async function makeFirstUser(code: string, user: string, password: string): Promise<string | null> {
  const answer = await fetch('/setup', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code, user, password }),
  });
  if (answer.status === 404) {
    // Somebody else has made one meanwhile.
    await start();
    return null;
  }
  if (!answer.ok) return answer.text();
  signIn(user, password);
  return null;
}

export function signIn(user: string, password: string): void {
  credentials = { user, password };
  connect();
}

export function signOut(): void {
  sessionStorage.removeItem(KEPT_AS);
  credentials = null;
  client?.close();
  client = null;
  const isAnonymous = about?.anonymous === true;
  link.value = { state: isAnonymous ? 'connecting' : 'sign-in', sinceMs: 0, isSignedIn: false };
  if (isAnonymous) connect();
}

/** A topic of this gateway, such as topicOf('trace', 'line1'). */
export function topicOf(kind: TopicKind, name: string): string {
  return (about?.topics[kind] ?? '') + name;
}

/** Calls back for every message that matches, retained ones first; returns what ends it. */
export function subscribe(filter: string, handler: Handler): () => void {
  const handlers = subscriptions.get(filter) ?? new Set();
  handlers.add(handler);
  subscriptions.set(filter, handlers);
  // Subscribing again brings the retained messages for the new handler.
  client?.subscribe(filter);
  return () => {
    handlers.delete(handler);
    if (handlers.size > 0) return;
    subscriptions.delete(filter);
    client?.unsubscribe(filter);
  };
}

/** Asks a management verb; rejects with what the gateway said, or when it said nothing in that time. */
export async function request<T>(
  verb: string,
  body: Record<string, unknown>,
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<T> {
  const answer = await ask(topicOf('req', verb), JSON.stringify(body), timeoutMs);
  const { ok, data, error } = JSON.parse(new TextDecoder().decode(answer)) as {
    ok: boolean;
    data: T;
    error?: string;
  };
  if (!ok) throw new Error(error ?? say('no_answer'));
  return data;
}

/** Sends a command and resolves with what became of it. */
export async function command(topic: string, json: string): Promise<Ack> {
  return JSON.parse(new TextDecoder().decode(await ask(topic, json))) as Ack;
}

function ask(topic: string, payload: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    if (client === null || link.value.state !== 'live') return reject(new Error(say('no_answer')));
    const correlation = String(++sequence);
    const timer = setTimeout(() => {
      waiting.delete(correlation);
      reject(new Error(say('no_answer')));
      lookAgain();
    }, timeoutMs);
    waiting.set(correlation, (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
    client.publish(
      topic,
      encoder.encode(payload),
      { responseTopic, correlation: encoder.encode(correlation) },
      (reason) => {
        if (reason < 0x80) return;
        clearTimeout(timer);
        waiting.delete(correlation);
        if (reason === 0x87) reject(new Denied(say('denied')));
        else reject(new Error(reason === TOO_LARGE ? tooLargeText() : say('no_answer')));
      },
    );
  });
}

function tooLargeText(): string {
  return say('too_large', { size: Math.floor((client?.packetBytesMax ?? 0) / 1024) });
}

function connect(): void {
  client?.close();
  const clientId = `page-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`;
  responseTopic = topicOf('res', clientId);
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/mqtt`;
  client = new MqttClient(url, clientId, credentials, { opened, received, closed });
}

function opened(): void {
  retryMs = 500;
  if (credentials !== null) sessionStorage.setItem(KEPT_AS, JSON.stringify(credentials));
  link.value = { state: 'live', sinceMs: 0, isSignedIn: credentials !== null };
  client?.subscribe(responseTopic);
  for (const filter of subscriptions.keys()) client?.subscribe(filter);
  askPlant();
}

/** When it connects, and whenever another config was applied: its tags may be others. */
function askPlant(): void {
  request<PlantAbout>('plant', {})
    .then((answer) => {
      // This page is one of an old version.
      if (plant.peek() !== null && plant.peek()?.version !== answer.version) return location.reload();
      isPlantDenied.value = false;
      setPlant(answer);
      for (const filter of answer.filters) client?.subscribe(filter);
    })
    .catch((error: unknown) => {
      isPlantDenied.value = error instanceof Denied;
      // A slow link may bring a large plant later than an answer is waited for.
      if (!isPlantDenied.value && link.value.state === 'live') setTimeout(askPlant, ANSWER_TIMEOUT_MS);
    });
}

function received({ topic, payload, correlation }: Received): void {
  if (topic === responseTopic) {
    const key = new TextDecoder().decode(correlation);
    waiting.get(key)?.(payload);
    waiting.delete(key);
    return;
  }
  takeMessage(topic, payload);
  // It is taken back: its tag is gone, or all of them are with the name of the gateway.
  if (payload.length === 0) lookAgain();
  for (const [filter, handlers] of subscriptions) {
    if (matches(filter, topic)) for (const handler of handlers) handler(topic, payload);
  }
}

/** reason: CONNACK or DISCONNECT reason code, 0 when the socket just closed. */
function closed(reason: number): void {
  client = null;
  const isRefused = reason === 0x86 || reason === 0x87 || reason === 0x8c;
  if (isRefused && link.value.state !== 'live') {
    credentials = null;
    sessionStorage.removeItem(KEPT_AS);
    link.value = { state: 'refused', sinceMs: 0, isSignedIn: false };
    return;
  }
  const wasLive = link.value.state === 'live';
  link.value = { ...link.value, state: 'lost', sinceMs: wasLive ? Date.now() : link.value.sinceMs };
  again();
}

function again(): void {
  setTimeout(
    () => {
      if (link.value.state === 'lost' || link.value.state === 'connecting') void start();
    },
    retryMs * (0.5 + Math.random()),
  );
  retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
}

function kept(): { user: string; password: string } | null {
  const text = sessionStorage.getItem(KEPT_AS);
  return text === null ? null : (JSON.parse(text) as { user: string; password: string });
}
