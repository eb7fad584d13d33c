/**
 * Who may connect: passwords of the users file, checked off the loop, one at a time, with equal cost for unknown users, and
 * growing pauses for addresses that guess.
 */
import { createHash, createHmac, pbkdf2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.js';
import { Pauses } from './pauses.js';
import type { SaltedPassword, SaltedPasswords } from './scram.js';
import type { Scheme, User } from './usersfile.js';

export interface Credentials {
  readonly user: string | null;
  readonly password: Uint8Array | null;
  /** Address without port, for the pause after failures. */
  readonly host: string;
  /** Name in a verified client certificate; null: none. */
  readonly certificateName: string | null;
  readonly isAnonymousAllowed: boolean;
}

export type Verdict =
  | { readonly user: string; readonly groups: readonly string[] }
  | { readonly refused: number; readonly text: string };

/** Decides who somebody is. */
export interface Login {
  check(credentials: Credentials): Verdict | Promise<Verdict>;
}

const BAD_CREDENTIALS = 0x86;
const NOT_AUTHORIZED = 0x87;
const SERVER_BUSY = 0x89;
const PAUSED: Verdict = { refused: SERVER_BUSY, text: 'too many failed logins; wait' };
/** Logins that may wait for their hash. */
const WAITING_MAX = 128;
const COST = 16384;

/** A line of the users file; groups are names separated by commas. */
export async function userLine(
  user: string,
  password: string,
  groups: readonly string[] = [],
): Promise<string> {
  const salt = randomBytes(16);
  const scheme: Scheme = { kind: 'scrypt', cost: COST, block: 8, lanes: 1, salt, hash: Buffer.alloc(32) };
  const hash = await derive(scheme, Buffer.from(password));
  const text = `$scrypt$${COST},8,1$${salt.toString('base64')}$${hash.toString('base64')}`;
  return groups.length === 0 ? `${user}:${text}` : `${user}:${text}:${groups.join(',')}`;
}

function derive(scheme: Scheme, password: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, hash: Buffer): void =>
      error === null ? resolve(hash) : reject(error);
    switch (scheme.kind) {
      case 'sha512':
        resolve(createHash('sha512').update(password).update(scheme.salt).digest());
        break;
      case 'pbkdf2':
        pbkdf2(password, scheme.salt, scheme.rounds, 64, 'sha512', done);
        break;
      case 'scrypt': {
        const { cost, block, lanes } = scheme;
        scrypt(
          password,
          scheme.salt,
          32,
          { cost, blockSize: block, parallelization: lanes, maxmem: 256 * cost * block },
          done,
        );
      }
    }
  });
}

/** Whether this hash is one of this password. */
async function isOf(scheme: Scheme, password: Uint8Array): Promise<boolean> {
  return timingSafeEqual(await derive(scheme, password), scheme.hash);
}

function isSame(proven: Uint8Array | undefined, password: Uint8Array): boolean {
  return proven?.length === password.length && timingSafeEqual(proven, password);
}

export class Users implements Login, SaltedPasswords {
  #users: ReadonlyMap<string, User> = new Map();
  /** What an unknown user's password is checked against. */
  #decoy: Scheme = { kind: 'sha512', salt: randomBytes(12), hash: randomBytes(64) };
  /**
   * Passwords that were right, so that a thousand devices coming back do not wait for a thousand hashes, and so that a
   * changed users file can be asked whether they still are.
   */
  readonly #proven = new Map<string, Uint8Array>();
  readonly #key = randomBytes(32);
  readonly #waiting: (() => Promise<void>)[] = [];
  #isBusy = false;
  /** What is told of the salt of an unknown user, who must not be known by it. */
  #saltedDecoy: SaltedPassword | null = null;
  readonly #pauses: Pauses;

  constructor(clock: Clock) {
    this.#pauses = new Pauses(clock);
  }

  /**
   * Takes over the users of a file. Answers who of those before has another hash now, and whether it is one of the
   * password that let him in; who came by other means has none here.
   */
  set(users: ReadonlyMap<string, User>): ReadonlyMap<string, Promise<boolean>> {
    const changed = new Map<string, Promise<boolean>>();
    for (const [name, { scheme }] of this.#users) {
      const now = users.get(name)?.scheme;
      if (isDeepStrictEqual(now, scheme)) continue;
      const password = this.#proven.get(name);
      this.#proven.delete(name);
      if (now !== undefined) changed.set(name, this.#isStillRight(name, now, password));
    }
    this.#users = users;
    const first = users.values().next().value;
    if (first !== undefined)
      this.#decoy = { ...first.scheme, salt: randomBytes(12), hash: randomBytes(first.scheme.hash.length) };
    this.#saltedDecoy = null;
    for (const { scheme } of users.values()) {
      if (scheme.kind === 'pbkdf2') this.#saltedDecoy ??= { ...scheme, groups: [] };
    }
    return changed;
  }

  async #isStillRight(user: string, scheme: Scheme, password: Uint8Array | undefined): Promise<boolean> {
    if (password === undefined) return false;
    const isRight = await this.#inTurn(() => isOf(scheme, password)).catch(() => false);
    // The file may have changed once more meanwhile.
    if (isRight && isDeepStrictEqual(this.#users.get(user)?.scheme, scheme)) this.#proven.set(user, password);
    return isRight;
  }

  get hasSalted(): boolean {
    return this.#saltedDecoy !== null;
  }

  saltedOf(user: string): SaltedPassword & { readonly isKnown: boolean } {
    const known = this.#users.get(user);
    if (known?.scheme.kind === 'pbkdf2') return { ...known.scheme, groups: known.groups, isKnown: true };
    const { salt, rounds } = this.#saltedDecoy ?? { salt: this.#key.subarray(0, 12), rounds: 1 };
    const seed = createHmac('sha512', this.#key).update(user).digest();
    return { salt: seed.subarray(0, salt.length), rounds, hash: seed, groups: [], isKnown: false };
  }

  groupsOf(user: string): readonly string[] {
    return this.#users.get(user)?.groups ?? [];
  }

  has(user: string): boolean {
    return this.#users.has(user);
  }

  check(credentials: Credentials): Verdict | Promise<Verdict> {
    const { user, password, certificateName, isAnonymousAllowed } = credentials;
    if (certificateName !== null) return { user: certificateName, groups: this.groupsOf(certificateName) };
    // A user name without a password is not a login, and never equals an empty password.
    if (user === null || (password === null && this.#users.size === 0)) {
      if (isAnonymousAllowed) return { user: '', groups: [] };
      return { refused: NOT_AUTHORIZED, text: 'not authorized' };
    }
    if (this.#users.size === 0 && isAnonymousAllowed) return { user: '', groups: [] };
    if (password === null) return { refused: BAD_CREDENTIALS, text: 'bad user name or password' };
    if (isSame(this.#proven.get(user), password)) return { user, groups: this.groupsOf(user) };
    if (this.isPaused(credentials.host)) return PAUSED;
    if (this.#waiting.length >= WAITING_MAX) return { refused: SERVER_BUSY, text: 'too many logins at once' };
    return this.#inTurn(() => this.#verify(user, password, credentials.host));
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => job().then(resolve, reject));
      this.#next();
    });
  }

  #next(): void {
    if (this.#isBusy) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#isBusy = true;
    const done = (): void => {
      this.#isBusy = false;
      this.#next();
    };
    job().then(done, done);
  }

  async #verify(user: string, password: Uint8Array, host: string): Promise<Verdict> {
    // Others of that address may have failed while it waited: guesses that come all at once are guesses.
    if (this.isPaused(host)) return PAUSED;
    const known = this.#users.get(user);
    const isRight = await isOf(known?.scheme ?? this.#decoy, password);
    if (known === undefined || !isRight || this.#users.get(user) !== known) {
      this.failed(host);
      return { refused: BAD_CREDENTIALS, text: 'bad user name or password' };
    }
    this.#proven.set(user, password);
    return { user, groups: known.groups };
  }

  isPaused(host: string): boolean {
    return this.#pauses.has(host);
  }

  failed(host: string): void {
    this.#pauses.failed(host);
  }
}
