/**
 * What becomes of a message under the rules of an uplink: the first that matches renames it, or gives it the topic and
 * payload of its template. Samples whose rule wants one message per answer wait here for the end of the turn.
 */
import { matches, TOPIC_BYTES_MAX } from '../broker/topic.js';
import { renamed } from '../config/filter.js';
import type { UplinkRule } from '../config/plant.js';
import { joined, namesOf, type Place, type Subject, subjectOf } from './payload.js';
import { fillPayload, fillTopic } from './template.js';

/** A message as it goes on to the other side. */
export interface Routed {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly rule: UplinkRule;
}

export interface RouterOptions {
  readonly rules: readonly UplinkRule[];
  /** JSON texts of the names that every template may use. */
  readonly variables: ReadonlyMap<string, string>;
  /** What a topic of the gateway speaks of; null: the messages come from elsewhere, and their names are not to be trusted. */
  readonly placeOf: ((topic: string) => Place | null) | null;
  readonly nowMs: () => number;
}

/** Samples of one answer, on their way to become one message. */
interface Answer {
  readonly rule: UplinkRule;
  readonly samples: Subject[];
}

export class Router {
  readonly #options: RouterOptions;
  #answers = new Map<string, Answer>();
  #waiting = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  get filters(): ReadonlySet<string> {
    return new Set(this.#options.rules.map(({ from }) => from));
  }

  firstFilter(topic: string): string | undefined {
    return this.#options.rules.find(({ from }) => matches(from, topic))?.from;
  }

  /** Whether a rule that only renames may have made this topic. */
  mayMake(topic: string): boolean {
    return this.#options.rules.some((rule) => rule.topic === null && matches(rule.to, topic));
  }

  /** Where a message goes; null when no rule takes it, 'waits' when it is part of an answer that is told by flush(). */
  route(topic: string, payload: Uint8Array): Routed | 'waits' | null {
    const { rules, placeOf, nowMs } = this.#options;
    for (const rule of rules) {
      if (!matches(rule.from, topic)) continue;
      if (rule.topic === null && rule.payload === null) {
        const there = renamed(topic, rule);
        if (!mayBeTopic(there, rule)) continue;
        return { topic: there, payload, rule };
      }
      const subject = subjectOf(topic, placeOf?.(topic) ?? null, payload, nowMs());
      if (rule.payload?.isPerAnswer === true) {
        if (subject.place === null) continue;
        if (subject.place.tag !== null) {
          this.#gather(rule, subject.place.device, subject);
          return 'waits';
        }
      }
      const routed = this.#fill(rule, subject, payload);
      if (routed !== null) return routed;
    }
    return null;
  }

  /** Samples that wait for flush(). */
  get waiting(): number {
    return this.#waiting;
  }

  /** The answers that wait, each as one message. */
  flush(): Routed[] {
    const answers = [...this.#answers.values()];
    this.#answers = new Map();
    this.#waiting = 0;
    return answers.flatMap(({ rule, samples }) => {
      const subject = joined(samples);
      return (subject === null ? null : this.#fill(rule, subject, null)) ?? [];
    });
  }

  #gather(rule: UplinkRule, device: string, subject: Subject): void {
    this.#waiting++;
    const key = `${this.#options.rules.indexOf(rule)} ${subject.timeMs} ${device}`;
    const answer = this.#answers.get(key);
    if (answer === undefined) this.#answers.set(key, { rule, samples: [subject] });
    else answer.samples.push(subject);
  }

  /** Null when the template asks for what the message does not have: the next rule may take it. */
  #fill(rule: UplinkRule, subject: Subject, published: Uint8Array | null): Routed | null {
    const { variables, placeOf } = this.#options;
    const names = namesOf(subject, variables);
    const topic =
      rule.topic === null ? renamed(subject.topic, rule) : fillTopic(rule.topic, names, placeOf !== null);
    if (topic === null || !mayBeTopic(topic, rule)) return null;
    if (rule.payload === null) return published === null ? null : { topic, payload: published, rule };
    const text = fillPayload(rule.payload, names);
    return text === null ? null : { topic, payload: Buffer.from(text), rule };
  }
}

/**
 * Whether what a rule makes of a topic is one, which a longer beginning may be too much for. Under `$` it is only where the
 * rule itself says so: what a wildcard or a name brings must not get there.
 */
function mayBeTopic(topic: string, { to }: UplinkRule): boolean {
  if (topic === '' || (topic.startsWith('$') && !to.startsWith('$'))) return false;
  return topic.length * 3 <= TOPIC_BYTES_MAX || Buffer.byteLength(topic) <= TOPIC_BYTES_MAX;
}
