/**
 * The page's one connection: an MQTT 5 client over WebSocket under the rights of whoever signed in. It comes back by
 * itself, and while it is away the page says so. Management verbs and commands are answered on response topics.
 */
import { signal } from '@preact/signals';
import { setClockBy } from './clock.js';
import { say } from './language.js';
import { MqttClient, matches, type Received } from './mqtt.js';
import { setPlant, takeMessage, type PlantAbout } from './plant.js';

export interface LinkState {
  readonly state: 'connecting' | 'live' | 'lost' | 'sign-in' | 'refused' | 'setup';
  /** When it was lost, ms since 1970; 0: it never was live. */
  readonly sinceMs: number;
  readonly isSignedIn: boolean;
}

interface About {
  readonly base: string;
  readonly gateway: string;
  readonly anonymous: boolean;
  readonly needsSetup?: boolean;
}

export interface Ack {
  readonly ok: boolean;
  readonly v?: unknown;
  readonly code?: string;
  readonly error?: string;
}

type Handler = (topic: string, payload: Uint8Array) => void;

const ANSWER_TIMEOUT_MS = 10_000;
const RETRY_MAX_MS = 10_000;
const KEPT_AS = 'credentials';

export const link = signal<LinkState>({ state: 'connecting', sinceMs: 0, isSignedIn: false });
export const gatewayName = signal('');

const encoder = new TextEncoder();
const subscriptions = new Map<string, Set<Handler>>();
const waiting = new Map<string, (payload: Uint8Array) => void>();
let about: About = { base: 'holdfast', gateway: '', anonymous: true };
let client: MqttClient | null = null;
let credentials: { user: string; password: string } | null = kept();
let retryMs = 500;
let sequence = 0;
let responseTopic = '';

/** Asks the server who it is, then connects; both are tried until they work. */
export async function start(): Promise<void> {
  try {
    const answer = await fetch('/about.json');
    setClockBy(answer);
    about = (await answer.json()) as About;
  } catch {
    setTimeout(() => void start(), 2000);
    return;
  }
  gatewayName.value = about.gateway;
  subscribe(topicOf('event', 'config'), askPlant);
  document.title = `${about.gateway} – holdfast`;
  if (about.needsSetup === true) link.value = { ...link.value, state: 'setup' };
  else if (!about.anonymous && credentials === null) link.value = { ...link.value, state: 'sign-in' };
  else connect();
}

/** Makes the first user and signs in as that; resolves with null, or why not. */
export async function makeFirstUser(code: string, user: string, password: string): Promise<string | null> {
  const answer = await fetch('/setup', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code, user, password }),
  });
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
  link.value = { state: about.anonymous ? 'connecting' : 'sign-in', sinceMs: 0, isSignedIn: false };
  if (about.anonymous) connect();
}

/** A topic of this gateway, such as topicOf('trace', 'line1'). */
export function topicOf(...levels: string[]): string {
  return [about.base, about.gateway, ...levels].join('/');
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

/** Asks a management verb; rejects with what the gateway said, or when it said nothing. */
export async function request<T>(verb: string, body: Record<string, unknown>): Promise<T> {
  const answer = await ask(topicOf('req', verb), JSON.stringify(body));
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

function ask(topic: string, payload: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    if (client === null || link.value.state !== 'live') return reject(new Error(say('no_answer')));
    const correlation = String(++sequence);
    const timer = setTimeout(() => {
      waiting.delete(correlation);
      reject(new Error(say('no_answer')));
    }, ANSWER_TIMEOUT_MS);
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
        reject(new Error(say(reason === 0x87 ? 'denied' : 'no_answer')));
      },
    );
  });
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
      setPlant(answer);
      client?.subscribe(topicOf('data', '#'));
      client?.subscribe(topicOf('device', '+'));
    })
    .catch(() => undefined);
}

function received({ topic, payload, correlation }: Received): void {
  if (topic === responseTopic) {
    const key = new TextDecoder().decode(correlation);
    waiting.get(key)?.(payload);
    waiting.delete(key);
    return;
  }
  takeMessage(topic, payload);
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
  setTimeout(
    () => {
      if (link.value.state === 'lost') connect();
    },
    retryMs * (0.5 + Math.random()),
  );
  retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
}

function kept(): { user: string; password: string } | null {
  const text = sessionStorage.getItem(KEPT_AS);
  return text === null ? null : (JSON.parse(text) as { user: string; password: string });
}
