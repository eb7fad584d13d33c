/** Who reads and writes for a verb: the running gateway where it holds the bus, else pollers of our own. */
import { randomUUID } from 'node:crypto';
import type { Plant, Tag } from '../config/plant.js';
import { messageOf } from '../errors.js';
import { adviceOn } from '../poller/advice.js';
import { BrokerLink, isNobodyThere } from './brokerlink.js';
import { Field, type Outcome, type Reach } from './field.js';
import { partOf, type Target } from './target.js';
import { type Context, EXIT, VerbError } from './verb.js';

/** What the gateway needs beyond the time that a command may wait. */
const ANSWER_GRACE_MS = 2000;

/** A gateway that runs holds its buses: its broker is asked first. */
export async function reachOf(context: Context, target: Target, isOwn: boolean): Promise<Reach> {
  if (isOwn) return Field.open(partOf(target));
  const gateway = await gatewayOf(context, target.plant);
  return gateway ?? Field.open(partOf(target));
}

async function gatewayOf(context: Context, plant: Plant): Promise<Reach | null> {
  try {
    return new ThroughGateway(await BrokerLink.open(context, plant));
  } catch (thrown) {
    if (isNobodyThere(thrown) || /leaves the port/.test(messageOf(thrown))) return null;
    throw thrown;
  }
}

/** Commands on set/ and get/, answered on ack/. */
class ThroughGateway implements Reach {
  readonly #link: BrokerLink;

  constructor(link: BrokerLink) {
    this.#link = link;
  }

  read(tag: Tag, timeoutMs: number): Promise<Outcome> {
    return this.#ask(tag, tag.getTopic, (id) => JSON.stringify({ id, ttl: `${timeoutMs}ms` }), timeoutMs);
  }

  write(tag: Tag, json: string, timeoutMs: number): Promise<Outcome> {
    const text = (id: string): string => `{"v":${json},"id":${JSON.stringify(id)},"ttl":"${timeoutMs}ms"}`;
    return this.#ask(tag, tag.setTopic, text, timeoutMs);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #ask(tag: Tag, topic: string, text: (id: string) => string, timeoutMs: number): Promise<Outcome> {
    const id = randomUUID();
    let settle: (outcome: Outcome | null) => void = () => {};
    const answered = new Promise<Outcome | null>((resolve) => (settle = resolve));
    await this.#link.subscribe(tag.ackTopic, 1, ({ payload }) => {
      const outcome = outcomeOf(Buffer.from(payload).toString(), id);
      if (outcome !== null) settle(outcome);
    });
    await this.#link.publish(topic, Buffer.from(text(id)), 1);
    const timer = setTimeout(() => settle(null), timeoutMs + ANSWER_GRACE_MS);
    const outcome = await Promise.race([answered, this.#link.closed.then(() => null)]);
    clearTimeout(timer);
    if (outcome !== null) return outcome;
    const what = `no answer on ${tag.ackTopic}`;
    throw new VerbError(
      EXIT.refused,
      `${what}; does the gateway run with this file, and may you read that topic?`,
    );
  }
}

/** The answer to that id; its value keeps every digit. */
function outcomeOf(text: string, id: string): Outcome | null {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof answer !== 'object' || answer === null || !('id' in answer) || answer.id !== id) return null;
  const { ok, code, error } = answer as { ok?: unknown; code?: unknown; error?: unknown };
  if (ok !== true) return { code: String(code), text: String(error) };
  // The gateway writes {"id":..,"ok":true,"v":VALUE,"t":..}.
  const value = /"ok":true,"v":(.*),"t":\d+\}$/.exec(text)?.[1];
  return { code: 'OK', text: value ?? 'null' };
}

/** What the process ends with after an outcome that is not OK. */
export function exitCodeOf(code: string): number {
  if (code.startsWith('EXC_')) return EXIT.deviceException;
  if (code === 'READ_ONLY' || code === 'DENIED') return EXIT.notAllowed;
  if (code === 'RANGE' || code === 'TYPE') return EXIT.usage;
  return code === 'VERIFY' || code === 'UNKNOWN_TAG' ? EXIT.failed : EXIT.deviceSilent;
}

/** What to try after an outcome that is not OK. */
export function nextStepOf({ code, text }: Outcome, { device: { bus } }: Tag): string {
  if (code === 'READ_ONLY') return 'give the tag a write: in the config';
  if (code === 'RANGE' || code === 'TYPE') return 'give a value that fits; holdfast explain shows the limits';
  if (code === 'VERIFY') return 'the device took another value; look at its limits';
  return adviceOn(text, bus);
}
