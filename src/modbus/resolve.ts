/**
 * Addresses of devices that are reached by a name. A name server that is gone costs many seconds before the next one
 * is asked, which is longer than a connection may take: each name is asked for once at a time, and who tries again
 * meanwhile waits for that answer. Else no attempt would ever live to see one, and each would leave a question behind
 * in the few threads that the process has for all of them.
 */
import { lookup } from 'node:dns';
import type { LookupAddress, LookupOptions } from 'node:dns';

type Callback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/** Who waits for the answer, by name and options. */
const waiting = new Map<string, Callback[]>();

/** In the form that connect() takes. */
export function resolve(host: string, options: LookupOptions, callback: Callback): void {
  const key = `${host} ${JSON.stringify(options)}`;
  const others = waiting.get(key);
  if (others !== undefined) return void others.push(callback);
  const all = [callback];
  waiting.set(key, all);
  lookup(host, options, (...answer) => {
    waiting.delete(key);
    for (const each of all) each(...answer);
  });
}
