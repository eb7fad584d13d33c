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
  { name: 'status', group: 'Gateway', load: () => import('./status.js') },
  { name: 'watch', group: 'Gateway', load: () => import('./watch.js') },
  { name: 'backup', group: 'Gateway', load: () => import('./backup.js') },
  { name: 'restore', group: 'Gateway', load: () => import('./restore.js') },
  { name: 'wipe', group: 'Gateway', load: () => import('./wipe.js') },
  { name: 'reset', group: 'Gateway', load: () => import('./reset.js') },
  { name: 'scan', group: 'Devices', load: () => import('./scan.js') },
  { name: 'read', group: 'Devices', load: () => import('./read.js') },
  { name: 'write', group: 'Devices', load: () => import('./write.js') },
  { name: 'trace', group: 'Devices', load: () => import('./trace.js') },
  { name: 'sunspec', group: 'Devices', load: () => import('./sunspec.js') },
  { name: 'simulate', group: 'Devices', load: () => import('./simulate.js') },
  { name: 'init', group: 'Config', load: () => import('./init.js') },
  { name: 'check', group: 'Config', load: () => import('./check.js') },
  { name: 'explain', group: 'Config', load: () => import('./explain.js') },
  { name: 'import', group: 'Config', load: () => import('./import.js') },
  { name: 'export', group: 'Config', load: () => import('./export.js') },
  { name: 'schema', group: 'Config', load: () => import('./schema.js') },
  { name: 'sub', group: 'Broker', load: () => import('./sub.js') },
  { name: 'pub', group: 'Broker', load: () => import('./pub.js') },
  { name: 'passwd', group: 'Broker', load: () => import('./passwd.js') },
  { name: 'cert', group: 'Broker', load: () => import('./cert.js') },
  { name: 'completion', group: 'Other', load: () => import('./completion.js') },
  { name: 'version', group: 'Other', load: () => import('./version.js') },
];
