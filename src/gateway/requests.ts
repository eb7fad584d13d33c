/**
 * Management over MQTT: a message on req/<verb> is carried out and answered once on res/<verb>, or on its response
 * topic. Who may ask is what the access rules say about the topic; what a verb does is the table given by gateway.ts.
 */
import type { BrokerApi } from '../broker/broker.js';
import type { Message, Sender, Subscriber } from '../broker/message.js';
import type { GatewayTopics } from '../config/plant.js';
import { HoldfastError, messageOf } from '../errors.js';
import type { Unrest } from '../unrest.js';
import { type MayPublish, type Reply, replyOf } from './reply.js';

/** A gateway file of thousands of tags; the largest packet from a client is a limit of its own. */
const PAYLOAD_MAX_BYTES = 2 ** 20;
const ID_MAX_CHARACTERS = 256;
/** Requests under way at once; management is for people and scripts, not for floods. */
const RUNNING_MAX = 64;

export interface Request {
  /** The members of the JSON object asked with; empty when there was no payload. */
  readonly fields: ReadonlyMap<string, unknown>;
  readonly sender: Sender | null;
}

/** What it returns is the answer's `data`; what it throws is the answer's `error`. */
export type Handler = (request: Request) => unknown;

export interface RequestsOptions {
  readonly broker: BrokerApi;
  readonly mayPublish: MayPublish;
  readonly unrest: Unrest;
  readonly handlers: Readonly<Record<string, Handler>>;
}

export class Requests implements Subscriber {
  readonly #options: RequestsOptions;
  readonly #handlers: ReadonlyMap<string, Handler>;
  #topics: GatewayTopics | null = null;
  #running = 0;

  constructor(options: RequestsOptions) {
    this.#options = options;
    this.#handlers = new Map(Object.entries(options.handlers));
  }

  take(topics: GatewayTopics): void {
    if (this.#topics?.requestPrefix !== topics.requestPrefix) {
      this.close();
      this.#options.broker.subscribe(`${topics.requestPrefix}+`, this);
    }
    this.#topics = topics;
  }

  /** An answer must not become the next request. */
  takes(topic: string): boolean {
    return this.#topics !== null && topic.startsWith(this.#topics.requestPrefix);
  }

  close(): void {
    if (this.#topics === null) return;
    this.#options.broker.unsubscribe(`${this.#topics.requestPrefix}+`, this);
    this.#topics = null;
  }

  deliver(message: Message): void {
    if (this.#topics === null) return;
    const verb = message.topic.slice(this.#topics.requestPrefix.length);
    const { responsePrefix } = this.#topics;
    const reply = replyOf(message, responsePrefix + verb, this.#options.mayPublish);
    const parsed = parse(message.payload);
    const handler = this.#handlers.get(verb);
    if (message.retain) this.#refuse(reply, null, 'RETAINED', 'requests are never retained');
    else if (typeof parsed === 'string') this.#refuse(reply, null, 'TYPE', parsed);
    else if (handler === undefined) {
      const known = [...this.#handlers.keys()].join(', ');
      this.#refuse(reply, parsed, 'UNKNOWN_VERB', `there is no such request; there are ${known}`);
    } else if (this.#running >= RUNNING_MAX) {
      this.#refuse(reply, parsed, 'BUSY', `${RUNNING_MAX} requests are under way; ask again later`);
    } else void this.#carryOut(handler, verb, reply, { fields: parsed, sender: message.sender });
  }

  async #carryOut(handler: Handler, verb: string, reply: Reply, request: Request): Promise<void> {
    this.#running += 1;
    try {
      const data = await handler(request);
      this.#answer(reply, request.fields, { ok: true, ...(data === undefined ? {} : { data }) });
    } catch (thrown) {
      const code = thrown instanceof HoldfastError ? thrown.code : 'FAILED';
      const error = messageOf(thrown);
      const fields = { verb, error, client: request.sender?.clientId ?? 'gateway' };
      this.#options.unrest.tell('warn', 'request failed', fields, `request ${verb}`);
      this.#refuse(reply, request.fields, code, error);
    } finally {
      this.#running -= 1;
    }
  }

  #refuse(reply: Reply, fields: ReadonlyMap<string, unknown> | null, code: string, error: string): void {
    this.#answer(reply, fields, { ok: false, code, error });
  }

  #answer(reply: Reply, fields: ReadonlyMap<string, unknown> | null, answer: Record<string, unknown>): void {
    const id = fields?.get('id');
    const isEchoed = typeof id === 'number' || (typeof id === 'string' && id.length <= ID_MAX_CHARACTERS);
    this.#options.broker.publish({
      topic: reply.topic,
      payload: Buffer.from(JSON.stringify(isEchoed ? { id, ...answer } : answer)),
      qos: 1,
      retain: false,
      sender: null,
      ...(reply.properties === undefined ? {} : { properties: reply.properties }),
    });
  }
}

/** The members of a JSON object, or what is wrong. A Map, so that no name means anything to JavaScript. */
function parse(payload: Uint8Array): ReadonlyMap<string, unknown> | string {
  if (payload.length === 0) return new Map();
  if (payload.length > PAYLOAD_MAX_BYTES) return `longer than ${PAYLOAD_MAX_BYTES} bytes`;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString());
  } catch {
    return 'not JSON; send an object such as {"id":1}, or nothing';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'not a JSON object; send one such as {"id":1}, or nothing';
  }
  return new Map(Object.entries(value));
}
