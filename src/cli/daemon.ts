/** A running gateway as verbs ask it: requests on req/, answered on res/ (gateway/requests.ts). */
import { randomUUID } from 'node:crypto';
import type { Plant } from '../config/plant.js';
import type { RemoteMessage } from '../uplink/client.js';
import { BrokerLink } from './brokerlink.js';
import { type Context, EXIT, type Option, textOption, VerbError } from './verb.js';

export const GATEWAY_OPTION: Option = {
  flags: '--gateway NAME',
  description: 'which gateway, where the broker has several and there is no --config',
};

/** How long a gateway may take to tell its status after somebody subscribed. */
const DISCOVERY_MS = 1500;
const ANSWER_MS = 10_000;

/** The topics of a gateway that verbs use. */
export interface GatewayNames {
  readonly id: string;
  readonly requestPrefix: string;
  readonly responsePrefix: string;
  /** Data topics of the default pattern are below it. */
  readonly dataPrefix: string;
  readonly tracePrefix: string;
}

interface Answer {
  readonly id?: unknown;
  readonly ok: boolean;
  readonly data?: unknown;
  readonly code?: string;
  readonly error?: string;
}

export class Daemon {
  readonly link: BrokerLink;
  readonly names: GatewayNames;

  constructor(link: BrokerLink, names: GatewayNames) {
    this.link = link;
    this.names = names;
  }

  static async open(context: Context, plant: Plant | null): Promise<Daemon> {
    const link = await BrokerLink.open(context, plant);
    try {
      return new Daemon(link, plant === null ? await discover(link, context) : namesOf(plant));
    } catch (thrown) {
      await link.close();
      throw thrown;
    }
  }

  /** The answer's data, or a VerbError that says what the gateway said. Who hears of it meanwhile waits anew. */
  async request(
    verb: string,
    fields: Readonly<Record<string, unknown>> = {},
    waitMs = ANSWER_MS,
    waiting: (anew: () => void) => void = () => {},
  ): Promise<unknown> {
    const id = randomUUID();
    const { responsePrefix, requestPrefix } = this.names;
    let settle: (answer: Answer | null) => void = () => {};
    const answered = new Promise<Answer | null>((resolve) => (settle = resolve));
    await this.link.subscribe(responsePrefix + verb, 1, ({ payload }) => {
      const answer = parseAnswer(payload);
      if (answer?.id === id) settle(answer);
    });
    await this.link.publish(requestPrefix + verb, Buffer.from(JSON.stringify({ id, ...fields })), 1);
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => settle(null), waitMs);
    };
    wait();
    waiting(wait);
    const answer = await Promise.race([answered, this.link.closed.then(() => null)]);
    clearTimeout(timer);
    if (answer === null)
      throw new VerbError(
        EXIT.refused,
        `gateway ${this.names.id} does not answer; is it running? see holdfast status`,
      );
    if (!answer.ok)
      throw new VerbError(EXIT.failed, `gateway ${this.names.id}: ${answer.error ?? answer.code ?? ''}`);
    return answer.data;
  }

  close(): Promise<void> {
    return this.link.close();
  }
}

export function namesOf({ gateway }: Plant): GatewayNames {
  const { requestPrefix, responsePrefix, tracePrefix } = gateway.topics;
  const dataPrefix = `${gateway.baseTopic}/${gateway.id}/data/`;
  return { id: gateway.id, requestPrefix, responsePrefix, dataPrefix, tracePrefix };
}

/** Without a gateway file: a gateway tells its status on a topic that is retained. */
async function discover(link: BrokerLink, { options }: Context): Promise<GatewayNames> {
  const wanted = textOption(options, 'gateway');
  const found = new Set<string>();
  let enough: () => void = () => {};
  const isEnough = new Promise<void>((resolve) => (enough = resolve));
  const take = ({ topic, payload }: RemoteMessage): void => {
    if (!/^(online|offline)$/.test(Buffer.from(payload).toString())) return;
    const prefix = topic.slice(0, -'/status'.length);
    if (wanted !== undefined && !prefix.endsWith(`/${wanted}`)) return;
    found.add(prefix);
    // Others that are retained come with the same breath.
    setTimeout(enough, 50);
  };
  // Who may not see everything may still see what is called as usual.
  await link.subscribe('+/+/status', 0, take).catch(() => link.subscribe('holdfast/+/status', 0, take));
  const timer = setTimeout(enough, DISCOVERY_MS);
  await isEnough;
  clearTimeout(timer);
  const [prefix, ...others] = found;
  const which = wanted === undefined ? 'no gateway' : `no gateway ${wanted}`;
  if (prefix === undefined)
    throw new VerbError(
      EXIT.refused,
      `${link.url} has ${which} that tells its status; name the file with --config`,
    );
  if (others.length > 0) {
    const names = [...found].map((one) => one.slice(one.indexOf('/') + 1)).join(', ');
    throw new VerbError(EXIT.usage, `${link.url} has the gateways ${names}; choose one with --gateway`);
  }
  return {
    id: prefix.slice(prefix.indexOf('/') + 1),
    requestPrefix: `${prefix}/req/`,
    responsePrefix: `${prefix}/res/`,
    dataPrefix: `${prefix}/data/`,
    tracePrefix: `${prefix}/trace/`,
  };
}

/** What the gateway wrote; null for anything else that somebody put there. */
function parseAnswer(payload: Uint8Array): Answer | null {
  try {
    const answer: unknown = JSON.parse(Buffer.from(payload).toString());
    if (typeof answer !== 'object' || answer === null || !('ok' in answer)) return null;
    // Fields beside `ok` are looked at one by one where they are used.
    return answer as Answer;
  } catch {
    return null;
  }
}
