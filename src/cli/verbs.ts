/** The table of verbs. A verb's file is loaded only when the verb is called, so that none pays for another. */
import type { Verb } from './verb.js';

export interface VerbEntry {
  readonly name: string;
  /** The heading that help lists it under. */
  readonly group: 'Gateway' | 'Devices' | 'Config' | 'Broker' | 'Other';
  load(): Promise<{ readonly verb: Verb }>;
}

export const VERBS: readonly VerbEntry[] = [
  { name: 'run', group: 'Gateway', load: () => import('./run.js') },
  { name: 'demo', group: 'Gateway', load: () => import('./demo.js') },
  { name: 'simulate', group: 'Devices', load: () => import('./simulate.js') },
  { name: 'sunspec', group: 'Devices', load: () => import('./sunspec.js') },
  { name: 'check', group: 'Config', load: () => import('./check.js') },
  { name: 'explain', group: 'Config', load: () => import('./explain.js') },
  { name: 'backup', group: 'Gateway', load: () => import('./backup.js') },
  { name: 'restore', group: 'Gateway', load: () => import('./restore.js') },
  { name: 'wipe', group: 'Gateway', load: () => import('./wipe.js') },
  { name: 'reset', group: 'Gateway', load: () => import('./reset.js') },
  { name: 'passwd', group: 'Broker', load: () => import('./passwd.js') },
  { name: 'version', group: 'Other', load: () => import('./version.js') },
];
