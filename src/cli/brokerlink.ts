/**
 * The verbs' way to a broker, and through it to a running gateway: MQTT on one of its listeners, as any client comes
 * in, under the same users and access rules. Where it is comes from the gateway file, from --url, or from the
 * environment.
 */
import { loadAside } from '../config/loadaside.js';
import type { ListenerSettings, Plant } from '../config/plant.js';
import { formatProblem } from '../config/problems.js';
import { matches } from '../broker/topic.js';
import { ConfigError, messageOf } from '../errors.js';
import { connectRemote, isVersionRefused, type Remote, type RemoteMessage } from '../uplink/client.js';
import { plain } from '../uplink/publications.js';
import { askHidden } from './ask.js';
import { inputFile, passwordIn } from './inputfile.js';
import { type Context, EXIT, type Option, textOption, VerbError } from './verb.js';

export const BROKER_OPTIONS: readonly Option[] = [
  { flags: '-c, --config FILE', description: 'the gateway file; tells where its broker listens' },
  {
    flags: '--url URL',
    description:
      'mqtt:// mqtts:// ws:// wss:// mqtt+unix:///PATH; else HOLDFAST_URL, else mqtt://127.0.0.1:1883',
  },
  { flags: '-u, --user NAME', description: 'else HOLDFAST_USER' },
  {
    flags: '-p, --password-file FILE',
    description: 'read the password from there; else HOLDFAST_PASSWORD, else it is asked for',
  },
  { flags: '--ca FILE', description: 'the authority that signed the certificate of the broker' },
];

const DEFAULT_URL = 'mqtt://127.0.0.1:1883';
const KEEP_ALIVE_S = 30;
const NOT_AUTHORIZED = 0x87;

type Listener = (message: RemoteMessage) => void;

interface Subscription {
  readonly filter: string;
  readonly take: Listener;
}

/** The plant of --config; null when the option was not given. */
export async function plantOf({ options, env }: Context): Promise<Plant | null> {
  const file = textOption(options, 'config');
  if (file === undefined) return null;
  const { plant, problems } = await loadAside(file, env);
  if (plant === null)
    throw new ConfigError('CONFIG', {}, `the config is not valid\n${problems.map(formatProblem).join('\n')}`);
  return plant;
}

export class BrokerLink {
  /** Where it is, for messages. */
  readonly url: string;
  readonly #remote: Remote;
  readonly #listeners: Subscription[];
  /** Settles with why when the connection is gone. */
  readonly closed: Promise<string>;

  private constructor(url: string, remote: Remote, listeners: Subscription[], closed: Promise<string>) {
    this.url = url;
    this.#remote = remote;
    this.#listeners = listeners;
    this.closed = closed;
  }

  /** Connects as the options say, or throws a VerbError that says what to do. */
  static async open(context: Context, plant: Plant | null): Promise<BrokerLink> {
    const url = urlOf(context, plant);
    const credentials = await credentialsOf(context);
    const listeners: Subscription[] = [];
    let closed: (reason: string) => void = () => {};
    const isClosed = new Promise<string>((resolve) => (closed = resolve));
    const connect = async (version: '3.1.1' | '5'): Promise<Remote> =>
      connectRemote(
        {
          url, version, ...credentials, tls: tlsOf(context),
          clientId: `holdfast-cli-${process.pid}-${Math.random().toString(36).slice(2, 8)}`,
          keepAliveS: KEEP_ALIVE_S, cleanStart: true, sessionExpiryS: 0, will: null,
        },
        {
          message: (message) => {
            for (const { filter, take } of listeners) if (matches(filter, message.topic)) take(message);
          },
          closed,
        },
      ); // prettier-ignore
    try {
      const remote = await connect('5').catch((thrown: unknown) => {
        if (!isVersionRefused(thrown)) throw thrown;
        return connect('3.1.1');
      });
      return new BrokerLink(url, remote, listeners, isClosed);
    } catch (thrown) {
      throw refusal(url, thrown);
    }
  }

  /** Resolves once it is granted; --url brokers may refuse. */
  async subscribe(filter: string, qos: 0 | 1 | 2, take: Listener): Promise<void> {
    const subscription = { filter, take };
    this.#listeners.push(subscription);
    try {
      await this.#remote.subscribe(filter, qos);
    } catch (thrown) {
      this.#listeners.splice(this.#listeners.indexOf(subscription), 1);
      const what = `${this.url} does not let you subscribe to ${filter}`;
      throw new VerbError(
        EXIT.notAllowed,
        `${what} (${messageOf(thrown)}); give --user, or ask for an access rule`,
      );
    }
  }

  /** Resolves when the broker has it (with QoS 0: when it is sent). */
  async publish(topic: string, payload: Uint8Array, qos: 0 | 1 | 2, retain = false): Promise<void> {
    const outcome = await new Promise<number>((resolve) =>
      this.#remote.publish(plain(topic, payload, qos, retain), resolve),
    );
    if (outcome === NOT_AUTHORIZED) {
      const what = `${this.url} does not let you publish on ${topic}`;
      throw new VerbError(EXIT.notAllowed, `${what}; give --user, or ask for an access rule`);
    }
    if (outcome >= 0x80)
      throw new VerbError(EXIT.refused, `${this.url} refuses the message on ${topic} (reason ${outcome})`);
    if (outcome !== 0) throw new VerbError(EXIT.refused, `the connection to ${this.url} broke; try again`);
  }

  close(): Promise<void> {
    return this.#remote.end(false);
  }
}

function urlOf({ options, env }: Context, plant: Plant | null): string {
  const given = textOption(options, 'url');
  if (given !== undefined) return withPort(given);
  if (plant !== null) return urlOfListener(plant);
  return withPort(env['HOLDFAST_URL'] ?? DEFAULT_URL);
}

function withPort(text: string): string {
  if (!URL.canParse(text) || !/^(mqtts?|wss?)(\+unix)?:$/.test(new URL(text).protocol))
    throw new VerbError(EXIT.usage, `${text} is no broker's URL; write one such as mqtt://127.0.0.1:1883`);
  return text;
}

/** The listener that is nearest: a socket of this machine, then plain MQTT, then the others. */
function urlOfListener({ broker, file }: Plant): string {
  const rank = ['unix', 'mqtt', 'ws', 'mqtts', 'wss'];
  const known = broker.listeners.filter(({ protocol, port }) => protocol === 'unix' || port !== 0);
  const [nearest] = known.toSorted((a, b) => rank.indexOf(a.protocol) - rank.indexOf(b.protocol));
  if (nearest === undefined)
    throw new VerbError(
      EXIT.usage,
      `${file} leaves the port of its broker open (port: 0); give it with --url`,
    );
  return urlText(nearest);
}

function urlText({ protocol, host, port, path }: ListenerSettings): string {
  if (protocol === 'unix') return `mqtt+unix://${path}`;
  const name =
    host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  return `${protocol}://${name}:${port}${protocol.startsWith('ws') ? path : ''}`;
}

async function credentialsOf(context: Context): Promise<{ user: string | null; password: string | null }> {
  const { options, env } = context;
  const user = textOption(options, 'user') ?? env['HOLDFAST_USER'] ?? null;
  if (user === null) return { user: null, password: null };
  const file = textOption(options, 'passwordFile');
  if (file !== undefined) return { user, password: await passwordIn(file, context) };
  const known = env['HOLDFAST_PASSWORD'];
  if (known !== undefined || !context.canAsk) return { user, password: known ?? null };
  return { user, password: await askHidden(`password for ${user}: `, context) };
}

function tlsOf({ options }: Context): Parameters<typeof connectRemote>[0]['tls'] {
  const ca = textOption(options, 'ca');
  if (ca === undefined) return null;
  return { ca: inputFile(ca), cert: null, key: null, serverName: null, verify: true, alpn: [] };
}

/** Why a broker cannot be used, and what to try. */
function refusal(url: string, thrown: unknown): VerbError {
  const why = messageOf(thrown);
  const next = /ECONNREFUSED|ENOENT/.test(why)
    ? 'does the gateway run? start it with holdfast run, or name another broker with --url'
    : /auth|password|credential/i.test(why)
      ? 'give a user with --user NAME; holdfast passwd makes one'
      : /certificate|self.signed|TLS/i.test(why)
        ? 'name the authority with --ca FILE'
        : 'check the address';
  return new VerbError(EXIT.refused, `${url} refused: ${why || 'nobody listens there'}; ${next}`, thrown);
}

/** True when nobody listens there at all, so that no gateway can hold the bus either. */
export function isNobodyThere(thrown: unknown): boolean {
  return thrown instanceof VerbError && /ECONNREFUSED|ENOENT/.test(messageOf(thrown.cause));
}
