/** What verbs ask a gateway, and how long they wait for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BrokerLink } from '../../src/cli/brokerlink.js';
import { Daemon } from '../../src/cli/daemon.js';

const NAMES = {
  id: 'gw',
  requestPrefix: 'h/gw/req/',
  responsePrefix: 'h/gw/res/',
  dataPrefix: 'h/gw/data/',
  tracePrefix: 'h/gw/trace/',
};

type Take = (message: { payload: Uint8Array }) => void;

/** A gateway that answers when it is told to. */
function asked(): { daemon: Daemon; answer(data: unknown): void } {
  let take: Take = () => {};
  let id: unknown;
  const link = {
    closed: new Promise<string>(() => {}),
    subscribe: (_filter: string, _qos: number, listener: Take) => ((take = listener), Promise.resolve()),
    publish: (_topic: string, payload: Uint8Array) => {
      ({ id } = JSON.parse(Buffer.from(payload).toString()) as { id: unknown });
      return Promise.resolve();
    },
  } as unknown as BrokerLink; // of a link a request needs no more
  const answer = (data: unknown): void =>
    take({ payload: Buffer.from(JSON.stringify({ id, ok: true, data })) });
  return { daemon: new Daemon(link, NAMES), answer };
}

test('a gateway that tells how far it is has all the time it takes, and one that falls silent has not', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { daemon, answer } = asked();
  let waitAnew = (): void => {};
  let found: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve) => {
    found = daemon.request('scan', {}, 1000, (anew) => ((waitAnew = anew), resolve()));
  });
  for (let news = 0; news < 5; news += 1) {
    t.mock.timers.tick(900);
    waitAnew();
  }
  answer('found');
  assert.equal(await found, 'found');
  const silent = daemon.request('scan', {}, 1000, () => t.mock.timers.tick(1000));
  await assert.rejects(silent, /does not answer/);
});
