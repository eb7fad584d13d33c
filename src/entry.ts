/**
 * Where the program's own files are, whether it runs bundled (dist/) or compiled for tests (build/src/): both keep
 * this file, or the chunk it was bundled into, at the root of the tree that holds the worker entries. And how threads and
 * processes of them are started.
 */
import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { getEnvironmentData, setEnvironmentData, Worker, type WorkerOptions } from 'node:worker_threads';

/** The entry file of a worker thread or process, such as "poller/worker.js". */
export function entryUrl(path: string): URL {
  return new URL(`./${path}`, import.meta.url);
}

/**
 * Keeps this thread's young generation at the size it has: a gateway makes little garbage that lives, and on a small
 * router tens of megabytes are worth more than some rarer collections. V8 takes the flag back whenever a thread gets
 * its heap, so it is set again then; threads have limits of their own. So little is collected by one thread: to wake
 * helpers takes longer than they save.
 */
export function keepYoungGeneration(): void {
  setFlagsFromString('--no-parallel-scavenge');
  setFlagsFromString('--semi-space-growth-factor=1');
}

/**
 * Collects what a start has left behind, once: a gateway that runs makes so little garbage that V8 would keep it for
 * hours. V8 gives its collector only to contexts made after it was asked to. That flag belongs to the process and stays:
 * a thread that took it back would take it from another one that is about to collect.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') return;
  // Most functions of a start are never called again: their code goes, too. What was optimized stays.
  setFlagsFromString('--stress-flush-code');
  collect();
  setFlagsFromString('--no-stress-flush-code');
}

/**
 * Lets the old generation grow by a third between collections instead of to a multiple: what forwards a long backlog
 * makes garbage that lives just long enough to get there.
 */
export function keepOldGeneration(): void {
  setFlagsFromString('--heap-growing-percent=30');
}

/** Bytes of bytecode after which V8 looks whether a function is worth compiling, by its versions that are known. */
const USUAL_BUDGETS: Readonly<Record<string, number>> = { '11.3': 67_584 };
const REHEARSAL_BUDGET = 4000;

/** How many rehearsals go on in all threads: V8's flags belong to the process. */
const rehearsalCount = sharedCount('rehearsals');

/** A number that this thread shares with those that it starts. */
function sharedCount(name: string): Int32Array {
  const known: unknown = getEnvironmentData(name);
  const buffer = known instanceof SharedArrayBuffer ? known : new SharedArrayBuffer(4);
  setEnvironmentData(name, buffer);
  return new Int32Array(buffer);
}

/**
 * V8 compiles what is busy sooner, in all threads, until what this returns was called by everyone: what a rehearsal runs
 * a few times is compiled as if it had run for seconds. To go on so would compile what is not known well enough yet,
 * which made the broker up to 29 % slower. A V8 whose usual budget is not known stays as it is.
 */
export function compileSooner(): () => void {
  const usual = USUAL_BUDGETS[process.versions.v8.split('.', 2).join('.')];
  if (usual === undefined) return () => {};
  // Each ends after it has begun, so whatever threads do at once the last word is that of the last one to end.
  if (Atomics.add(rehearsalCount, 0, 1) === 0) setFlagsFromString(`--interrupt-budget=${REHEARSAL_BUDGET}`);
  return () => {
    if (Atomics.sub(rehearsalCount, 0, 1) === 1) setFlagsFromString(`--interrupt-budget=${usual}`);
  };
}

/** A worker thread; every one is started here. */
export function startThread(entry: URL, options: WorkerOptions): Worker {
  const worker = new Worker(entry, options);
  worker.once('online', keepYoungGeneration);
  return worker;
}

/** A process of its own; every one of our own program is started here. */
export function startProcess(entry: URL, options: ForkOptions): ChildProcess {
  return fork(fileURLToPath(entry), [], options);
}

/** The folder that holds package.json, devices/ and config/. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${fileURLToPath(import.meta.url)}`);
    folder = parent;
  }
  return folder;
}
