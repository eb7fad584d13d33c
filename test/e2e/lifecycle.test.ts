import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants, unlinkSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connectAsync, type MqttClient } from 'mqtt';
import { Daemon } from '../support/daemon.js';
import { ModbusServer } from '../support/modbusserver.js';
import { until } from '../support/wait.js';

interface Parts {
  readonly port?: number;
  readonly store?: string;
  readonly devices?: string;
  readonly buses?: string;
}

const configOf = ({ port = 0, store = 'memory', devices = '', buses = '' }: Parts): string => `
version: 1
gateway: { id: gw }
broker:
  listeners: [{ protocol: mqtt, host: 127.0.0.1, port: ${port} }]
  anonymous: true
  store: ${store}
buses: {${buses}}
devices: {${devices}}
`;

const connect = (daemon: Daemon): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${daemon.port()}`, { protocolVersion: 5, reconnectPeriod: 0 });

/** What comes on a filter, as it comes. */
async function listen(client: MqttClient, filter: string): Promise<{ topic: string; text: string }[]> {
  const seen: { topic: string; text: string }[] = [];
  client.on('message', (topic, payload) => seen.push({ topic, text: payload.toString() }));
  await client.subscribeAsync(filter, { qos: 1 });
  return seen;
}

describe('the daemon ends', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`with 0 and within 5 s on ${signal}, after it has said offline and let its clients know`, async () => {
      const daemon = await new Daemon(configOf({})).start();
      try {
        const client = await connect(daemon);
        const seen = await listen(client, 'holdfast/gw/status');
        await until('online', () => seen.some(({ text }) => text === 'online'));
        let reason: number | undefined;
        client.on('disconnect', (packet) => (reason = packet.reasonCode));
        const startedMs = performance.now();
        daemon.signal(signal);
        assert.equal(await daemon.exited(5000), 0);
        assert.ok(performance.now() - startedMs < 5000);
        await until('the farewell', () => seen.at(-1)?.text === 'offline' && reason === 0x8b);
        assert.equal(daemon.log.at(-1)?.msg, 'stopped');
        await client.endAsync(true);
      } finally {
        await daemon.remove();
      }
    });
  }

  test('while its file is still being read; neither a reload asked for then is its end, nor SIGUSR1 a debugger, nor other signals mean anything', async () => {
    const daemon = new Daemon('');
    // Whoever reads it waits for whoever writes.
    unlinkSync(daemon.configFile);
    execFileSync('mkfifo', [daemon.configFile]);
    try {
      daemon.spawn();
      const writer = await until('somebody who reads it', () =>
        open(daemon.configFile, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => null),
      );
      daemon.signal('SIGHUP');
      for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGALRM'] as const) daemon.signal(signal);
      daemon.signal('SIGTERM');
      await until('it to be heeded', () => daemon.logged('stopping').length > 0);
      await writer.close();
      assert.equal(await daemon.exited(5000), 0);
      assert.equal(daemon.other, '');
    } finally {
      await daemon.remove();
    }
  });

  test('while it is still starting, because a port is taken', async () => {
    const taker = createServer();
    await new Promise<void>((resolve) => taker.listen(0, '127.0.0.1', resolve));
    const daemon = new Daemon(configOf({ port: (taker.address() as AddressInfo).port }));
    try {
      daemon.spawn();
      await until('the complaint', () => daemon.logged('listener cannot be opened').length > 0);
      daemon.signal('SIGTERM');
      assert.equal(await daemon.exited(5000), 0);
      assert.deepEqual(daemon.logged('ready'), []);
    } finally {
      taker.close();
      await daemon.remove();
    }
  });

  test('with 1, in good order and with a log line, on an error that nobody caught', async () => {
    const daemon = new Daemon(configOf({}), {
      files: { 'bug.cjs': "process.on('SIGUSR2', () => { throw new Error('a bug'); });" },
    });
    const faulty = new Daemon(configOf({}), { nodeArgs: ['--require', join(daemon.folder, 'bug.cjs')] });
    try {
      await faulty.start();
      const client = await connect(faulty);
      const seen = await listen(client, 'holdfast/gw/status');
      faulty.signal('SIGUSR2');
      assert.equal(await faulty.exited(5000), 1);
      assert.equal(faulty.logged('an error that nobody caught')[0]?.['error'], 'a bug');
      await until('the farewell', () => seen.at(-1)?.text === 'offline');
      await client.endAsync(true);
    } finally {
      await faulty.remove();
      await daemon.remove();
    }
  });

  test('with 1 and opens nothing when another one has its store', async () => {
    const first = await new Daemon(configOf({ store: '{ path: data }' })).start();
    const second = new Daemon(configOf({ store: `{ path: ${join(first.folder, 'data')} }` }));
    try {
      second.spawn();
      assert.equal(await second.exited(), 1);
      assert.match(JSON.stringify(second.log), /data: is in use.*could not start/);
      assert.deepEqual(second.logged('ready'), []);
      assert.equal(await first.stop(), 0);
    } finally {
      await first.remove();
      await second.remove();
    }
  });
});

test('a port that is taken at the start is said once, and served when it is free', async () => {
  const taker = createServer();
  await new Promise<void>((resolve) => taker.listen(0, '127.0.0.1', resolve));
  const { port } = taker.address() as AddressInfo;
  const daemon = new Daemon(configOf({ port }));
  try {
    daemon.spawn();
    await until('the complaint', () => daemon.logged('listener cannot be opened').length > 0);
    await new Promise((resolve) => taker.close(resolve));
    await until('the ready line', () => daemon.logged('ready').length > 0);
    assert.equal(daemon.port(), port);
    assert.equal(daemon.logged('listener cannot be opened').length, 1);
  } finally {
    await daemon.remove();
  }
});

describe('requests over MQTT', () => {
  let daemon: Daemon;
  let client: MqttClient;
  before(async () => {
    daemon = await new Daemon(configOf({})).start();
    client = await connect(daemon);
  });
  after(async () => {
    await client.endAsync(true);
    await daemon.remove();
  });

  const ask = async (verb: string, payload: string): Promise<Record<string, unknown>> => {
    const seen = await listen(client, `answers/${verb}`);
    await client.publishAsync(`holdfast/gw/req/${verb}`, payload, {
      properties: { responseTopic: `answers/${verb}` },
    });
    const answer = await until(`the answer of ${verb}`, () =>
      seen.find(({ topic }) => topic === `answers/${verb}`),
    );
    await client.unsubscribeAsync(`answers/${verb}`);
    return JSON.parse(answer.text) as Record<string, unknown>;
  };

  test('status tells of gateway, buses and devices', async () => {
    const { id, ok, data } = await ask('status', '{"id":7}');
    assert.deepEqual([id, ok], [7, true]);
    assert.equal((data as Record<string, unknown>)['gateway'], 'gw');
  });

  test('clients lists who is connected', async () => {
    const { data } = await ask('clients', '');
    const ids = (data as { clientId: string }[]).map(({ clientId }) => clientId);
    assert.ok(ids.includes(client.options.clientId ?? ''), JSON.stringify(data));
  });

  test('what is no request is answered with what is wrong', async () => {
    assert.equal((await ask('nothing', ''))['code'], 'UNKNOWN_VERB');
    assert.equal((await ask('status', '[1]'))['code'], 'TYPE');
    assert.equal((await ask('constructor', '{}'))['code'], 'UNKNOWN_VERB');
  });

  test('the answer comes on res/ when no response topic was named', async () => {
    const seen = await listen(client, 'holdfast/gw/res/+');
    await client.publishAsync('holdfast/gw/req/status', '{"id":"x"}');
    const answer = await until('the answer', () => seen.find(({ text }) => text.includes('"id":"x"')));
    assert.equal(answer.topic, 'holdfast/gw/res/status');
    assert.equal((JSON.parse(answer.text) as { id: string }).id, 'x');
  });
});

describe('a reload', () => {
  const server = new ModbusServer('libmodbus', { kind: 'tcp' }, 1, {
    'holding-register': { 0: [10, 11, 12] },
  });
  let daemon: Daemon;
  let client: MqttClient;
  let seen: { topic: string; text: string }[];
  before(async () => {
    await server.start();
    daemon = await new Daemon(configOf(plant('x: { holding: 0 }'))).start();
    client = await connect(daemon);
    seen = await listen(client, 'holdfast/gw/#');
    await until('the first value', () => seen.some(({ topic }) => topic.endsWith('/data/one/x')));
  });
  after(async () => {
    await client.endAsync(true);
    await daemon.remove();
    await server.kill();
  });

  const plant = (tags: string, more = ''): Parts => ({
    buses: ` plc: { protocol: tcp, host: 127.0.0.1, port: ${server.port} } ${more}`,
    devices: ` one: { bus: plc, unit_id: 1, tags: { ${tags} } } `,
  });

  const reload = async (config: string): Promise<{ ok: boolean; problems: string[] }> => {
    writeFileSync(daemon.configFile, config);
    const mark = seen.length;
    daemon.signal('SIGHUP');
    const event = await until('event/config', () =>
      seen.slice(mark).find(({ topic }) => topic === 'holdfast/gw/event/config'),
    );
    return JSON.parse(event.text) as { ok: boolean; problems: string[] };
  };

  test('of a file that is not valid changes nothing and says where it is wrong', async () => {
    const { ok, problems } = await reload(configOf(plant('x: { holdin: 0 }')));
    assert.equal(ok, false);
    assert.match(problems[0] ?? '', /gateway\.yaml:\d+:\d+ {2}HF\d{4} .*holdin/);
    const mark = seen.length;
    await client.publishAsync('holdfast/gw/get/one/x', '');
    await until('a value', () => seen.slice(mark).some(({ topic }) => topic.endsWith('/data/one/x')));
    assert.equal(daemon.logged('the config is not valid and was not applied').length, 1);
  });

  test('brings new tags and takes old ones away, and clients stay connected', async () => {
    const { ok } = await reload(configOf(plant('y: { holding: 1 }')));
    assert.equal(ok, true);
    await until('the new value', () =>
      seen.some(({ topic, text }) => topic.endsWith('/data/one/y') && text.includes('"v":11')),
    );
    const mark = seen.length;
    await client.publishAsync('holdfast/gw/set/one/x', '1');
    const answer = await until('the answer', () =>
      seen.slice(mark).find(({ topic }) => topic.endsWith('/ack/one/x')),
    );
    assert.match(answer.text, /UNKNOWN_TAG/);
    assert.ok(client.connected);
  });

  test('clears what was retained of a tag and a device that are gone', async () => {
    const other = await connect(daemon);
    const kept = await listen(other, 'holdfast/gw/data/#');
    await until('a retained value', () => kept.length > 0);
    assert.deepEqual(
      kept.map(({ topic }) => topic),
      ['holdfast/gw/data/one/y'],
    );
    await other.endAsync(true);
  });

  test('leaves alone what did not change: its line stays, its polls go on, its device has no news', async () => {
    const two = (tag: string, port: number): string =>
      configOf({
        buses: ` plc: { protocol: tcp, host: 127.0.0.1, port: ${server.port} }, other: { protocol: tcp, host: 127.0.0.1, port: ${port} } `,
        devices: ` one: { bus: plc, unit_id: 1, tags: { y: { holding: 1, rate: 50ms, report: always } } },
                   two: { bus: other, unit_id: 1, tags: { ${tag} } } `,
      });
    const countOf = (topic: string, since: number): number =>
      seen.slice(since).filter((one) => one.topic === `holdfast/gw/${topic}`).length;
    const begun = seen.length;
    assert.equal((await reload(two('z: { holding: 2 }', server.port))).ok, true);
    const applied = seen.length;
    // Its device is told before its second poll, so what is told after that is news.
    await until('both', () => countOf('data/two/z', begun) > 0 && countOf('data/one/y', applied) > 1);
    const mark = seen.length;
    for (const tag of ['z: { holding: 2, scale: 10 }', 'w: { holding: 0 }', 'z: { holding: 2 }']) {
      assert.equal((await reload(two(tag, server.port))).ok, true);
    }
    await until('the last one', () =>
      seen.slice(mark).some(({ topic, text }) => topic.endsWith('/data/two/z') && text.includes('"v":12,')),
    );
    const polls = (): number[] =>
      seen.slice(mark).flatMap(({ topic, text }) => {
        return topic.endsWith('/data/one/y') ? [(JSON.parse(text) as { t: number }).t] : [];
      });
    await until('polls before, between and after the reloads', () => polls().length > 5);
    const news = seen.slice(mark);
    assert.deepEqual(
      news.filter(({ topic }) => topic.endsWith('/device/one')),
      [],
    );
    const times = polls();
    const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
    assert.ok(Math.max(...gaps) < 1000, gaps.join(' '));
  });

  test('says what of it waits for the next start', async () => {
    const config = configOf(plant('y: { holding: 1 }'));
    const changed = config.replace('anonymous: true', 'anonymous: true\n  limits: { max_inflight: 77 }');
    const { ok, problems } = await reload(changed);
    assert.deepEqual([ok, problems.length], [true, 1]);
    assert.match(problems[0] ?? '', /limits.* at the next start/);
    assert.deepEqual((await reload(config)).problems, []);
  });

  test('asked for while another one has read the file already is carried out after it', async () => {
    const mark = seen.length;
    unlinkSync(daemon.configFile);
    execFileSync('mkfifo', [daemon.configFile]);
    daemon.signal('SIGHUP');
    // Nobody can write into a pipe that nobody reads.
    const pipe = await until('somebody who reads it', () =>
      open(daemon.configFile, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => null),
    );
    unlinkSync(daemon.configFile);
    writeFileSync(daemon.configFile, configOf(plant('z: { holding: 2 }')));
    daemon.signal('SIGHUP');
    // What is sent after the signal is read after it.
    await client.publishAsync('holdfast/gw/get/one/y', '', { qos: 1 });
    await pipe.writeFile(configOf(plant('y: { holding: 1 }')));
    await pipe.close();
    await until('the tag of the newer file', () =>
      seen.slice(mark).some(({ topic, text }) => topic.endsWith('/data/one/z') && text.includes('"v":12')),
    );
  });

  test('with a users file that is not right changes nothing and does not end the daemon', async () => {
    writeFileSync(join(daemon.folder, 'users.passwd'), 'nonsense');
    const config = configOf(plant('y: { holding: 1 }')).replace(
      'anonymous: true',
      'anonymous: true\n  users_file: users.passwd',
    );
    const { ok, problems } = await reload(config);
    assert.equal(ok, false);
    assert.match(problems.join(), /users\.passwd:1/);
    assert.ok(client.connected);
  });
});
