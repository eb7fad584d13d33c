/**
 * The first run: while the users file is not there yet, whoever knows the one-time code makes the first user on the page.
 * The code is made anew at each start and told in the log of the machine only, which no client can read, so that it takes
 * access to the machine. There is no default password.
 */
import { randomInt, timingSafeEqual } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Pauses } from '../broker/pauses.js';
import { isUserName, PASSWORD_SHORT, replaceUser } from '../broker/usersfile.js';
import { userLine } from '../broker/users.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';

/** Without letters and digits that look alike. */
const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789';
const CODE_LENGTH = 10;
/** Wrong codes until a new one is made, which only the log tells. */
const TRIES_MAX = 5;
const PASSWORD_MAX = 1024;

export interface FirstUser {
  readonly code: string;
  readonly user: string;
  readonly password: string;
}

export class Setup {
  readonly #usersFile: string;
  readonly #log: Log;
  readonly #made: () => void;
  readonly #pauses: Pauses;
  #code = '';
  #tries = 0;
  #isBusy = false;

  /** made: called when the users file is there. */
  constructor(usersFile: string, log: Log, clock: Clock, made: () => void) {
    this.#usersFile = usersFile;
    this.#log = log;
    this.#made = made;
    this.#pauses = new Pauses(clock);
    this.#renew();
  }

  get isNeeded(): boolean {
    return !existsSync(this.#usersFile);
  }

  /**
   * Writes the users file with its first user; null, or why not. An address that guesses has to wait, so that it can neither
   * renew the code for ever, which would keep its owner out, nor fill the log with it.
   */
  async make({ code, user, password }: FirstUser, host: string): Promise<string | null> {
    if (this.#isBusy || !this.isNeeded) return 'there is a user already';
    if (this.#pauses.has(host)) return 'there were too many wrong codes; wait a minute';
    if (!this.#isRight(code, host)) return 'the code is not right; it is in the log of the gateway';
    if (!isUserName(user)) return 'a user name has no colon, no control characters, and no # in front';
    if (password.length < PASSWORD_SHORT) return `a password has at least ${PASSWORD_SHORT} characters`;
    if (password.length > PASSWORD_MAX) return `a password has at most ${PASSWORD_MAX} characters`;
    this.#isBusy = true;
    try {
      replaceUser(this.#usersFile, '', user, await userLine(user, password));
    } finally {
      this.#isBusy = false;
    }
    this.#made();
    this.#log.info('the first user was made', { user, file: this.#usersFile });
    return null;
  }

  #isRight(code: string, host: string): boolean {
    const [given, own] = [Buffer.from(code.toUpperCase().replaceAll(/[\s-]/g, '')), Buffer.from(this.#code)];
    if (given.length === own.length && timingSafeEqual(given, own)) return true;
    this.#pauses.failed(host);
    this.#tries += 1;
    if (this.#tries >= TRIES_MAX) this.#renew();
    return false;
  }

  #renew(): void {
    this.#tries = 0;
    this.#code = Array.from({ length: CODE_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
    this.#log.warn('there is no user yet; open the page and give it this one-time code to make the first', {
      code: `${this.#code.slice(0, 5)}-${this.#code.slice(5)}`,
      file: this.#usersFile,
    });
  }
}
