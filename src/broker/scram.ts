/**
 * SCRAM-SHA-512 (RFC 5802) as an authentication method: the password never crosses the line, and the client learns that
 * the broker knows it, too. It serves users whose line mosquitto_passwd made (`$7$`): that hash is just what SCRAM needs.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Applicant, AuthenticationMethod, Exchange, Step } from './authentication.js';

/** What is known of a user. */
export interface SaltedPassword {
  readonly salt: Buffer;
  readonly rounds: number;
  readonly hash: Buffer;
  readonly groups: readonly string[];
}

/** The users, as far as SCRAM needs them. */
export interface SaltedPasswords {
  readonly hasSalted: boolean;
  has(user: string): boolean;
  /** For an unknown user something that looks alike and always the same, with isKnown false. */
  saltedOf(user: string): SaltedPassword & { readonly isKnown: boolean };
  /** Too many failures came from there. */
  isPaused(host: string): boolean;
  failed(host: string): void;
}

const BAD_CREDENTIALS = 0x86;
const SERVER_BUSY = 0x89;
const REFUSED: Step = { refused: BAD_CREDENTIALS, text: 'bad user name or password' };
/** gs2-header without channel binding, and without another user to act for. */
const HEADER = /^[ny],,/;
const FIRST = /^n=([^,]*),r=([\x21-\x2b\x2d-\x7e]{8,256})(?:,|$)/;
const FINAL = /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^,]*)*?),p=([A-Za-z0-9+/=]+)$/;
const MESSAGE_MAX_BYTES = 4096;

export class Scram implements AuthenticationMethod {
  readonly name = 'SCRAM-SHA-512';
  readonly #users: SaltedPasswords;

  constructor(users: SaltedPasswords) {
    this.#users = users;
  }

  begin(applicant: Applicant): Exchange | null {
    return this.#users.hasSalted ? new ScramExchange(this.#users, applicant.host) : null;
  }

  has(user: string): boolean {
    return this.#users.has(user);
  }
}

class ScramExchange implements Exchange {
  readonly #users: SaltedPasswords;
  readonly #host: string;
  #user = '';
  #header = '';
  #clientFirst = '';
  #serverFirst = '';
  #nonce = '';

  constructor(users: SaltedPasswords, host: string) {
    this.#users = users;
    this.#host = host;
  }

  next(data: Uint8Array | null): Step {
    if (this.#users.isPaused(this.#host)) {
      return { refused: SERVER_BUSY, text: 'too many failed logins; wait' };
    }
    if (data === null || data.length > MESSAGE_MAX_BYTES) return REFUSED;
    const message = Buffer.from(data).toString();
    return this.#nonce === '' ? this.#first(message) : this.#final(message);
  }

  #first(message: string): Step {
    const header = HEADER.exec(message)?.[0] ?? '';
    const bare = message.slice(header.length);
    const [, name = '', nonce = ''] = FIRST.exec(bare) ?? [];
    if (header === '' || nonce === '') return REFUSED;
    this.#header = header;
    this.#user = name.replaceAll('=2C', ',').replaceAll('=3D', '=');
    this.#nonce = nonce + randomBytes(18).toString('base64');
    const { salt, rounds } = this.#users.saltedOf(this.#user);
    this.#clientFirst = bare;
    this.#serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${rounds}`;
    return { ask: Buffer.from(this.#serverFirst) };
  }

  #final(message: string): Step {
    const [, withoutProof = '', header = '', nonce = '', proofText = ''] = FINAL.exec(message) ?? [];
    const { hash, groups, isKnown } = this.#users.saltedOf(this.#user);
    const clientKey = hmac(hash, 'Client Key');
    const storedKey = createHash('sha512').update(clientKey).digest();
    const signed = `${this.#clientFirst},${this.#serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, signed);
    const expected = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
    const proof = Buffer.from(proofText, 'base64');
    const isRight =
      proof.length === expected.length &&
      timingSafeEqual(proof, expected) &&
      nonce === this.#nonce &&
      header === Buffer.from(this.#header).toString('base64');
    if (!isKnown || !isRight) {
      this.#users.failed(this.#host);
      return REFUSED;
    }
    const answer = hmac(hmac(hash, 'Server Key'), signed);
    return { user: this.#user, groups, data: Buffer.from(`v=${answer.toString('base64')}`) };
  }
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha512', key).update(text).digest();
}
