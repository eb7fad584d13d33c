/**
 * Enhanced authentication (MQTT 5, 4.12): a method asks and the client answers until the method is content or not,
 * before CONNACK and again whenever the client wants to renew it. What a method asks is its own business.
 */
import { messageOf } from '../errors.js';
import { decodeAuth, encodeAuth } from './packets.js';
import { PROTOCOL_ERROR } from './properties.js';

/** Who wants to come in. */
export interface Applicant {
  readonly clientId: string;
  /** Address without port. */
  readonly host: string;
  /** Name in a verified client certificate; null: none. */
  readonly certificateName: string | null;
}

export type Step =
  /** To be answered by the client. */
  | { readonly ask: Uint8Array }
  /** It is this user; `data` goes along with the good news. */
  | { readonly user: string; readonly groups: readonly string[]; readonly data: Uint8Array | null }
  | { readonly refused: number; readonly text: string };

/** One authentication, from the first data of the client (null: it sent none) to the end. */
export interface Exchange {
  next(data: Uint8Array | null): Step | Promise<Step>;
}

export interface AuthenticationMethod {
  /** As clients name it. */
  readonly name: string;
  /** null: not offered now. */
  begin(applicant: Applicant): Exchange | null;
  /** Whether this user is still welcome after who may enter has changed. */
  has(user: string): boolean;
}

/** What an authentication does to its connection. */
export interface AuthenticationHost {
  /** Sends a question and reads the answer to it. */
  ask(packet: Uint8Array): void;
  /** Sends AUTH 0x00 to a client that renewed its authentication. */
  send(packet: Uint8Array): void;
  fail(reason: number, text: string): void;
}

export type Result = Exclude<Step, { ask: Uint8Array }>;

const SUCCESS = 0x00;
const CONTINUE = 0x18;
const REAUTHENTICATE = 0x19;
const NOT_AUTHORIZED = 0x87;
const PACKET_TOO_LARGE = 0x95;
const UNSPECIFIED = 0x80;
/** Who has not convinced by then never will. */
const QUESTIONS_MAX = 16;

/** The authentication of one connection, for as long as that lasts. */
export class Authentication {
  readonly method: AuthenticationMethod;
  /** What the method sent with its consent, for CONNACK. */
  data: Uint8Array | null = null;
  readonly #applicant: Applicant;
  readonly #host: AuthenticationHost;
  readonly #maxPacketBytes: number;
  readonly #decided: (result: Result) => void;
  /** Null: no authentication is under way. */
  #exchange: Exchange | null;
  #isThinking = false;
  #questionCount = 0;
  /** Null until the client is in. */
  #user: string | null = null;

  constructor(
    method: AuthenticationMethod,
    exchange: Exchange,
    applicant: Applicant,
    host: AuthenticationHost,
    maxPacketBytes: number,
    decided: (result: Result) => void,
  ) {
    this.method = method;
    this.#exchange = exchange;
    this.#applicant = applicant;
    this.#host = host;
    this.#maxPacketBytes = maxPacketBytes;
    this.#decided = decided;
  }

  /** The data of CONNECT. */
  begin(data: Uint8Array | null): void {
    this.#take(data);
  }

  /** AUTH came. */
  receive(bytes: Uint8Array, body: number, end: number): void {
    const packet = decodeAuth(bytes, body, end);
    if (typeof packet === 'number') return this.#host.fail(packet, 'AUTH is not right');
    if (packet.method !== this.method.name) {
      return this.#host.fail(PROTOCOL_ERROR, 'AUTH names another method than CONNECT');
    }
    const isRenewal = packet.reason === REAUTHENTICATE;
    if (this.#isThinking || isRenewal !== (this.#exchange === null)) {
      return this.#host.fail(PROTOCOL_ERROR, 'AUTH is not expected now');
    }
    if (isRenewal) {
      this.#exchange = this.method.begin(this.#applicant);
      this.#questionCount = 0;
      if (this.#exchange === null) {
        return this.#host.fail(NOT_AUTHORIZED, 'the authentication method is not offered any more');
      }
    }
    this.#take(packet.data);
  }

  #take(data: Uint8Array | null): void {
    const step = this.#exchange?.next(data);
    if (step === undefined) return;
    if (!(step instanceof Promise)) return this.#proceed(step);
    this.#isThinking = true;
    step.then(
      (late) => {
        this.#isThinking = false;
        this.#proceed(late);
      },
      (error: unknown) => this.#end({ refused: UNSPECIFIED, text: messageOf(error) }),
    );
  }

  #proceed(step: Step): void {
    if (!('ask' in step)) return this.#end(step);
    if (++this.#questionCount > QUESTIONS_MAX) {
      return this.#end({ refused: NOT_AUTHORIZED, text: 'the authentication comes to no end' });
    }
    const packet = encodeAuth(CONTINUE, this.method.name, step.ask);
    // [MQTT-3.1.2-24]: without the question there is no answer.
    if (packet.length > this.#maxPacketBytes) {
      return this.#end({ refused: PACKET_TOO_LARGE, text: 'the client takes no packet as large as AUTH' });
    }
    this.#host.ask(packet);
  }

  #end(result: Result): void {
    this.#exchange = null;
    if (this.#user === null) {
      if ('user' in result) {
        this.#user = result.user;
        this.data = result.data;
      }
      return this.#decided(result);
    }
    // [MQTT-4.12.1-2]. DISCONNECT has no finer code than this.
    if ('refused' in result) return this.#host.fail(NOT_AUTHORIZED, result.text);
    if (result.user !== this.#user) {
      return this.#host.fail(NOT_AUTHORIZED, 'the authentication was renewed by another user');
    }
    this.#host.send(encodeAuth(SUCCESS, this.method.name, result.data));
  }
}
