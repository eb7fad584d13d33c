/**
 * Clusters of three nodes from Debian packages on free ports of the loopback: RabbitMQ with quorum queues, and NATS with
 * JetStream. Nodes can be killed and started again; stop() ends all of it and removes its files, whatever happened.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connectAsync } from 'mqtt';
import { freePort } from './ports.js';
import { until } from './wait.js';

const run = promisify(execFile);

export interface Engine {
  /** MQTT addresses of the nodes. */
  readonly nodes: readonly string[];
  kill(index: number): Promise<void>;
  /** Resolves when the node takes part again. */
  restart(index: number): Promise<void>;
  stop(): Promise<void>;
}

/** So many ports that nobody listens on, all different. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** One node's process, in a group of its own so that what it starts ends with it. */
class Node {
  #child: ChildProcess | null = null;

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
    this.#child = spawn(command, args, { stdio: 'ignore', detached: true, env });
  }

  signal(name: NodeJS.Signals): void {
    const { pid } = this.#child ?? {};
    if (pid === undefined) return;
    try {
      process.kill(-pid, name);
    } catch {
      // It has ended by itself.
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.pid === undefined) return;
    const isGone = child.exitCode !== null || child.signalCode !== null;
    const exited = isGone ? Promise.resolve() : once(child, 'exit');
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
    await exited;
  }
}

/** The part of /jsz that is looked at. */
interface JetStreamFigures {
  readonly account_details?: readonly {
    readonly stream_detail?: readonly {
      readonly cluster?: {
        readonly leader?: string;
        readonly replicas?: readonly { readonly current: boolean }[];
      };
    }[];
  }[];
}

const INDEXES = [0, 1, 2] as const;

/** urls: for clients of NATS itself. */
export async function startNats(): Promise<Engine & { readonly urls: readonly string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-nats-'));
  const ports = await freePorts(12);
  const port = (kind: 'client' | 'monitor' | 'route' | 'mqtt', index: number): number =>
    ports[['client', 'monitor', 'route', 'mqtt'].indexOf(kind) * 3 + index] ?? 0;
  const routes = INDEXES.map((index) => `"nats://127.0.0.1:${port('route', index)}"`).join(', ');
  const nodes = INDEXES.map(() => new Node());
  const start = (index: number): void => {
    nodes[index]?.start('nats-server', [
      '-c',
      join(folder, `${index}.conf`),
      '-l',
      join(folder, `${index}.log`),
    ]);
  };
  for (const index of INDEXES) {
    writeFileSync(
      join(folder, `${index}.conf`),
      `server_name: n${index}
listen: 127.0.0.1:${port('client', index)}
http: 127.0.0.1:${port('monitor', index)}
jetstream { store_dir: "${folder}/d${index}", max_mem: 64MB, max_file: 512MB }
cluster { name: hf, no_advertise: true, listen: 127.0.0.1:${port('route', index)}, routes: [ ${routes} ] }
mqtt { listen: 127.0.0.1:${port('mqtt', index)}, ack_wait: "5s", max_ack_pending: 1000, stream_replicas: 3, consumer_replicas: 3 }
`,
    );
  }
  const ask = async (index: number, path: string): Promise<Response | null> =>
    fetch(`http://127.0.0.1:${port('monitor', index)}/${path}`).catch(() => null);
  /** It has found the others; its streams may still be behind. */
  const isBack = async (index: number): Promise<boolean> =>
    (await ask(index, 'healthz?js-server-only=true'))?.ok === true;
  /**
   * It answers MQTT clients. The first one since its start makes it set up what it keeps for them, which it cannot while
   * the cluster elects: it tries for 4 s at a time, and all who connect wait behind that. A node in use has done so before.
   */
  const isInUse = async (index: number): Promise<boolean> => {
    const client = await connectAsync(engine.nodes[index] ?? '', {
      protocolVersion: 4,
      connectTimeout: 3000,
      reconnectPeriod: 0,
    }).catch(() => null);
    await client?.endAsync();
    return client !== null;
  };
  /** Nothing that this node leads has a copy that is behind. */
  const isCurrent = async (index: number): Promise<boolean> => {
    const answer = await ask(index, 'jsz?accounts=true&streams=true');
    const jetstream = (await answer?.json()) as JetStreamFigures | undefined;
    const streams = jetstream?.account_details?.flatMap(({ stream_detail: detail }) => detail ?? []) ?? [];
    return streams
      .filter(({ cluster }) => cluster?.leader === `n${index}`)
      .every(({ cluster }) => cluster?.replicas?.every(({ current }) => current) === true);
  };
  const engine = {
    nodes: INDEXES.map((index) => `mqtt://127.0.0.1:${port('mqtt', index)}`),
    urls: INDEXES.map((index) => `nats://127.0.0.1:${port('client', index)}`),
    kill: async (index: number) => nodes[index]?.kill(),
    restart: async (index: number) => {
      start(index);
      await until(`NATS node ${index}`, () => isBack(index), 60_000);
      await until(`MQTT of NATS node ${index}`, () => isInUse(index), 60_000);
      for (const each of INDEXES) await until(`what NATS node ${each} leads`, () => isCurrent(each), 60_000);
    },
    stop: async () => {
      await Promise.all(nodes.map((node) => node.kill()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    for (const index of INDEXES) start(index);
    for (const index of INDEXES) await until(`NATS node ${index}`, () => isBack(index), 60_000);
    for (const index of INDEXES) await until(`MQTT of NATS node ${index}`, () => isInUse(index), 60_000);
  } catch (thrown) {
    await engine.stop();
    throw thrown;
  }
  return engine;
}

export async function startRabbit(): Promise<Engine> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-rabbit-'));
  const [epmd = 0, ...ports] = await freePorts(22);
  const amqp = ports.slice(0, 3);
  const distribution = ports.slice(3, 6);
  const mqtt = ports.slice(6, 9);
  const control = ports.slice(9);
  for (const name of ['home', 'mnesia', 'log']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'enabled_plugins'), '[rabbitmq_mqtt].\n');
  writeFileSync(join(folder, 'home/.erlang.cookie'), `HF${process.pid}COOKIE${Date.now()}`, { mode: 0o400 });
  const { stdout } = await run('dpkg', ['-L', 'rabbitmq-server']);
  // The scripts themselves; those in the PATH change the user first.
  const bin = /^(.*\/lib\/rabbitmq\/bin)\/rabbitmq-server$/m.exec(stdout)?.[1] ?? '';
  const names = INDEXES.map((index) => `hf${index}@localhost`);
  const envOf = (index: number): NodeJS.ProcessEnv => ({
    ...process.env,
    HOME: join(folder, 'home'),
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(epmd),
    RABBITMQ_NODENAME: names[index],
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(amqp[index]),
    RABBITMQ_DIST_PORT: String(distribution[index]),
    RABBITMQ_CTL_DIST_PORT_MIN: String(Math.min(...control)),
    RABBITMQ_CTL_DIST_PORT_MAX: String(Math.max(...control)),
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, `${index}.conf`),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(folder, `${index}.pid`),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1',
  });
  for (const index of INDEXES) {
    writeFileSync(
      join(folder, `${index}.conf`),
      `listeners.tcp.1 = 127.0.0.1:${amqp[index]}
mqtt.listeners.tcp.1 = 127.0.0.1:${mqtt[index]}
mqtt.allow_anonymous = true
mqtt.durable_queue_type = quorum
mqtt.subscription_ttl = 86400000
cluster_formation.peer_discovery_backend = classic_config
${names.map((name, at) => `cluster_formation.classic_config.nodes.${at + 1} = ${name}`).join('\n')}
cluster_partition_handling = pause_minority
`,
    );
  }
  const nodes = INDEXES.map(() => new Node());
  const port = new Node();
  const restart = async (index: number): Promise<void> => {
    nodes[index]?.start(join(bin, 'rabbitmq-server'), [], envOf(index));
    await until(`RabbitMQ node ${index}`, () => isOpen(mqtt[index] ?? 0), 120_000);
  };
  /** The beam of a node has a process group of its own in some versions; its pid is in the file it writes. */
  const kill = async (index: number): Promise<void> => {
    try {
      process.kill(Number(readFileSync(join(folder, `${index}.pid`), 'utf8')), 'SIGKILL');
    } catch {
      // Never started, or gone.
    }
    await nodes[index]?.kill();
  };
  const engine = {
    nodes: mqtt.map((one) => `mqtt://127.0.0.1:${one}`),
    kill,
    restart,
    stop: async () => {
      await Promise.all(INDEXES.map((index) => kill(index)));
      await port.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  const members = async (): Promise<boolean> => {
    const text = '{ok,M,_}=ra:members({mqtt_node,node()}), io:format("~b~n",[length(M)]).';
    const answer = await run('rabbitmqctl', ['-q', 'eval', text], { env: envOf(0), timeout: 30_000 }).catch(
      () => null,
    );
    return answer?.stdout.startsWith('3') === true;
  };
  try {
    port.start('epmd', ['-address', '127.0.0.1', '-port', String(epmd)], envOf(0));
    await until('epmd', () => isOpen(epmd), 20_000);
    // One after the other: started together, the tracker of client identifiers can stay without agreement.
    for (const index of INDEXES) await restart(index);
    await until('three members of the client tracker', members, 90_000);
  } catch (thrown) {
    await engine.stop();
    throw thrown;
  }
  return engine;
}
