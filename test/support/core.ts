/** What a broker does besides listening: a core of its own, with nothing kept on a disk unless a store is given. */
import { Core } from '../../src/broker/core.js';
import { brokerCounters } from '../../src/broker/counters.js';
import { type BrokerLimits, DEFAULT_LIMITS } from '../../src/broker/limits.js';
import { type Clock, steadyClock } from '../../src/clock.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/store.js';

export function coreOn(
  clock: Clock,
  limits: Partial<BrokerLimits> = {},
  store: Store = new MemoryStore(),
): Core {
  return new Core({
    clock: steadyClock(clock),
    log: silentLog,
    store,
    counters: brokerCounters(new Metrics()),
    limits: { ...DEFAULT_LIMITS, ...limits },
    neverRetained: [],
    onOverflow: () => {},
  });
}
