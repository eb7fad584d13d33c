/**
 * The gateway file as the page edits it: read, checked beside the real one with the same words as `holdfast check`, and
 * replaced in one step. What was there before stays beside it, and comes back when the new one cannot be applied.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Loaded } from '../config/loaded.js';
import type { Problem } from '../config/problems.js';
import { HoldfastError } from '../errors.js';
import { replaceFile } from '../replacefile.js';
import { masked, unmasked } from './secrets.js';

/** Checks that may wait for each other; a person waits for one. */
const CHECKS_MAX = 8;

export class ConfigFile {
  readonly #file: string;
  readonly #load: (file: string) => Promise<Loaded>;
  #drafts = 0;
  #checkCount = 0;

  constructor(file: string, load: (file: string) => Promise<Loaded>) {
    this.#file = file;
    this.#load = load;
  }

  async read(): Promise<string> {
    return readFile(this.#file, 'utf8');
  }

  /** For people: secrets are masked. */
  async show(): Promise<string> {
    return masked(await this.read());
  }

  /** A text that came back from people, with the secrets that were masked. */
  async whole(text: string): Promise<string> {
    const whole = unmasked(text, await this.read());
    if (whole !== null) return whole;
    const what = 'a password is a mask that hides none of this file';
    throw new HoldfastError(
      'TYPE',
      { file: this.#file },
      `${what}; show the file again, or write the password, best as \${NAME} or !file`,
    );
  }

  /** Problems of a text as if it stood in the file: relative paths and device maps are found from there. */
  async check(text: string): Promise<readonly Problem[]> {
    if (this.#checkCount >= CHECKS_MAX) {
      const what = `${CHECKS_MAX} texts are being checked; ask again later`;
      throw new HoldfastError('BUSY', { file: this.#file }, what);
    }
    this.#checkCount += 1;
    // One of its own, because several may be asked about at once.
    const draft = `${this.#file}.draft-${process.pid}-${++this.#drafts}`;
    try {
      await writeFile(draft, text, { mode: 0o600 });
      const { problems } = await this.#load(draft);
      return problems.map((problem) => (problem.file === draft ? { ...problem, file: this.#file } : problem));
    } finally {
      this.#checkCount -= 1;
      await rm(draft, { force: true });
    }
  }

  /** Replaces the file; the answer puts the old text back. */
  async replace(text: string): Promise<() => Promise<void>> {
    const old = await this.read();
    await replaceFile(`${this.#file}.previous`, old);
    await replaceFile(this.#file, text);
    return () => replaceFile(this.#file, old);
  }
}
