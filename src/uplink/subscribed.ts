/**
 * The filters that the far side's session may hold, in a file beside the queue: a rule that is changed or removed while the
 * gateway is down would otherwise leave a subscription over there that nobody ends.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../replacefile.js';

export class Subscribed {
  filters: readonly string[];
  readonly #file: string;

  constructor(folder: string) {
    this.#file = join(folder, 'subscriptions.json');
    this.filters = filtersIn(this.#file);
  }

  /** Never rejects: on a disk that refuses they are known until the gateway ends. */
  async remember(filters: readonly string[]): Promise<void> {
    if (filters.join('\n') === this.filters.join('\n')) return;
    this.filters = filters;
    await replaceFile(this.#file, `${JSON.stringify(filters)}\n`).catch(() => {});
  }
}

/** None when there is no such file, or it is damaged. */
function filtersIn(file: string): string[] {
  try {
    const filters: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return Array.isArray(filters) ? filters.filter((filter) => typeof filter === 'string') : [];
  } catch {
    return [];
  }
}
