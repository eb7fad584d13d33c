import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission } from '../../src/broker/connect.js';
import { Connection } from '../../src/broker/connection.js';
import { Core } from '../../src/broker/core.js';
import { brokerCounters } from '../../src/broker/counters.js';
import { Wheel } from '../../src/broker/keepalive.js';
import { DEFAULT_LIMITS } from '../../src/broker/limits.js';
import { Publishing } from '../../src/broker/publish.js';
import { Users } from '../../src/broker/users.js';
import { silentLog } from '../../src/log.js';
import { Metrics } from '../../src/metrics.js';
import { MemoryStore } from '../../src/store/memory.js';
import { ManualClock } from '../support/clock.js';
import * as wire from '../support/wire.js';

test('one who sends without end leaves the turn to others', async () => {
  const clock = new ManualClock();
  const core = new Core({
    clock,
    log: silentLog,
    store: new MemoryStore(),
    counters: brokerCounters(new Metrics()),
    limits: DEFAULT_LIMITS,
    neverRetained: [],
    onOverflow: () => {},
  });
  const admission = new Admission(core, new Users(clock), []);
  const host = {
    core,
    publishing: new Publishing(core),
    admission,
    wheel: new Wheel(clock),
    closed: () => {},
  };
  const peer = { host: '::1', address: '::1:1', certificateName: null, policy: { isAnonymousAllowed: true }, listener: '' }; // prettier-ignore
  const said: string[] = [];
  const connections = ['loud', 'quiet'].map(
    (name) =>
      new Connection(
        host,
        {
          pendingBytes: 0,
          write: () => true,
          pause: () => said.push(`${name} pauses`),
          resume: () => said.push(`${name} goes on`),
          end: () => {},
          destroy: () => {},
        },
        peer,
      ),
  );
  const [loud, quiet] = connections;
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  connections.forEach((connection, index) => {
    const connect = wire.connect({ version: 4, clientId: `c${index}` });
    connection.receive(connect, 0, connect.length);
  });
  await turn();
  said.length = 0;

  const ping = wire.PINGREQ;
  loud?.receive(ping, 0, ping.length);
  loud?.receive(ping, 0, ping.length);
  assert.deepEqual(said, [], 'the turn has only begun');
  clock.advance(6);
  loud?.receive(ping, 0, ping.length);
  assert.deepEqual(said, ['loud pauses']);
  await turn();
  assert.deepEqual(said, ['loud pauses', 'loud goes on']);
  quiet?.receive(ping, 0, ping.length);
  await turn();
  assert.equal(said.length, 2, 'the next turn has its own time');
});
