/** A tag's reading: what was read, how far it can be trusted, and when the answer arrived. */
import type { Value } from '../modbus/values.js';

/** Only good is good; `q` on the topic. */
export type Quality = 'good' | 'stale' | 'bad' | 'uncertain';

/** Why a sample is not good; `e` on the topic. */
export type Reason = 'timeout' | 'exception' | 'offline' | 'invalid' | 'implausible' | 'clock';

export interface Sample {
  readonly value: Value | null;
  readonly quality: Quality;
  readonly reason?: Reason;
  /** Wall time in ms since 1970. */
  readonly timestamp: number;
}

/** degraded: it answers, but not for all of its tags. */
export type DeviceState = 'online' | 'degraded' | 'offline';

/** The error of a device that is offline only because nobody has asked it so far. */
export const NOT_YET_READ = 'not yet read';
