/**
 * What crosses an uplink and what it says by itself: rules and messages with their templates, checked. A rule that
 * would send messages in a circle is refused where the far side cannot be told to leave our own messages out (MQTT
 * 3.1.1 knows no No Local).
 */
import { isFilter, mayCross, mayMeet, renamed, wildcardPart } from './filter.js';
import type { Source } from './load.js';
import type { UplinkNotice, UplinkRule } from './plant.js';
import { type Path, suggestion } from './problems.js';
import type { UplinkInput } from './schema/uplink.js';
import {
  fillKnown,
  FORMS,
  jsonTemplate,
  namesIn,
  type PayloadForm,
  type Template,
  textTemplate,
  unquotedName,
} from './template.js';

type OutInput = NonNullable<UplinkInput['out']>[number];
type InInput = NonNullable<UplinkInput['in']>[number];
type MessageInput = NonNullable<UplinkInput['messages']>[number];
type PayloadInput = OutInput['payload'];

/** Names of a topic that are filled in for each message. */
const PLACE = ['device', 'tag'];
/** What a template may name of a message: its place, its times, and the members of the gateway's own payloads. */
const OF_MESSAGE = [
  ...PLACE, 'topic', 'payload', 'v', 'q', 'e', 't', 'values', 'time', 'iso', 'seconds',
  'id', 'ok', 'code', 'error', 'state', 'since',
]; // prettier-ignore
const OF_DEVICE = ['device', 'state', 'since', 'error', 't', 'time', 'iso', 'seconds'];
const OF_NOTICE = ['t', 'time', 'iso', 'seconds'];

/** The texts that every template of an uplink may use. */
export type Variables = ReadonlyMap<string, string>;

export function outRule(input: OutInput, source: Source, at: Path, variables: Variables): UplinkRule {
  const payload = formOf(input.payload, source, [...at, 'payload'], OF_MESSAGE, variables);
  return { ...sidesOf(input, payload, PLACE, source, at, variables), payload };
}

export function inRule(input: InInput, source: Source, at: Path, variables: Variables): UplinkRule {
  const payload = formOf(input.payload, source, [...at, 'payload'], null, variables);
  if (payload?.isPerAnswer === true) {
    const text = 'is for what goes out; write a template such as { v: "{value}" }';
    source.add('error', 'HF1513', [...at, 'payload'], text);
  }
  return { ...sidesOf(input, payload, null, source, at, variables), payload };
}

/** names: those that the topic may hold; null: any. */
function sidesOf(
  input: OutInput | InInput,
  payload: PayloadForm | null,
  names: readonly string[] | null,
  source: Source,
  at: Path,
  variables: Variables,
): Omit<UplinkRule, 'payload'> {
  const from = fillKnown(input.from, variables);
  const to = fillKnown(input.to ?? input.from, variables);
  const template = textTemplate(to);
  const asked = namesIn(template);
  for (const [key, filter] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (key === 'from' && filter.startsWith('$share/')) {
      const text =
        'is a shared subscription, under which nothing comes in; write the filter behind the group alone';
      source.add('error', 'HF1511', [...at, key], text);
    }
    // Where `to` is not written it is what `from` is, and told there.
    if (isFilter(filter) || !(key in input)) continue;
    const text = `${JSON.stringify(filter)} is not a topic filter; + stands for a whole level, # for the rest at the end`;
    source.add('error', 'HF1511', [...at, key], text);
  }
  if (names !== null) checkNames(asked, names, variables, source, [...at, 'to']);
  const [here, there] = [wildcardPart(from), wildcardPart(to)];
  const isOneTopic = there === '' && (asked.length > 0 || payload !== null);
  if (asked.length > 0 && there !== '') {
    const text = `has names and wildcards; with names write the whole topic, such as plants/{device}/{tag}`;
    source.add('error', 'HF1511', [...at, 'to'], text);
  } else if (!isOneTopic && here !== there) {
    const text = `ends in "${there}" and from in "${here}"; both must have the same wildcards`;
    source.add('error', 'HF1511', [...at, 'to'], text);
  }
  return {
    from,
    to,
    topic: isOneTopic ? template : null,
    qos: input.qos ?? 1,
    retain: input.retain ?? 'keep',
  };
}

export function noticeOf(
  input: MessageInput,
  source: Source,
  at: Path,
  variables: Variables,
): UplinkNotice | null {
  if ((input.when === undefined) === (input.every === undefined)) {
    const text = 'needs either when: (connect, device-offline ...) or every: (such as 60s)';
    source.add('error', 'HF1514', at, text);
    return null;
  }
  const isOfDevice = input.when?.startsWith('device-') === true;
  const names = isOfDevice ? OF_DEVICE : OF_NOTICE;
  const to = fillKnown(input.to, variables);
  const topic = textTemplate(to);
  checkNames(namesIn(topic), isOfDevice ? ['device'] : [], variables, source, [...at, 'to']);
  refuseUnlessTopic(to, source, [...at, 'to']);
  const payload = formOf(input.payload, source, [...at, 'payload'], names, variables);
  if (payload === null || Object.values(FORMS).includes(payload)) {
    source.add(
      'error',
      'HF1513',
      [...at, 'payload'],
      'a message of its own needs a template, such as { sn: "{sn}" }',
    );
    return null;
  }
  return {
    when: input.when ?? 'every',
    everyMs: Math.max(1000, input.every ?? 0),
    topic,
    payload,
    qos: input.qos ?? 1,
    retain: input.retain ?? false,
  };
}

function refuseUnlessTopic(topic: string, source: Source, at: Path): void {
  if (isFilter(topic) && wildcardPart(topic) === '') return;
  source.add('error', 'HF1511', at, `${JSON.stringify(topic)} is not a topic`);
}

/** A topic that only the texts of the uplink fill in; null: none is given. */
export function fixedTopic(
  input: string | undefined,
  source: Source,
  at: Path,
  variables: Variables,
): string | null {
  if (input === undefined) return null;
  const topic = fillKnown(input, variables);
  checkNames(namesIn(textTemplate(topic)), [], variables, source, at);
  refuseUnlessTopic(topic, source, at);
  return topic;
}

/**
 * Where the rules take the gateway's own status as it is, for later subscribers: nobody else would say there that the gateway
 * is gone. Null: nowhere, or it might come back from there.
 */
export function forwardedStatus(
  status: string,
  out: readonly UplinkRule[],
  incoming: readonly UplinkRule[],
): string | null {
  const rule = out.find(({ from }) => mayMeet(from, status));
  if (rule === undefined || incoming.some(({ to }) => mayMeet(topicsOf(to), status))) return null;
  const isAsItIs = rule.topic === null && rule.payload === null && rule.retain === 'keep';
  return isAsItIs ? renamed(status, rule) : null;
}

/** names: those that the template may hold; null: any. */
function formOf(
  input: PayloadInput,
  source: Source,
  at: Path,
  names: readonly string[] | null,
  variables: Variables,
): PayloadForm | null {
  if (input === undefined) return null;
  if (typeof input !== 'string') {
    findUnquoted(input, source, at);
    const template = jsonTemplate(input);
    checkNames(namesIn(template), names, variables, source, at);
    return { kind: 'json', template, isPerAnswer: false };
  }
  if (Object.hasOwn(FORMS, input)) return FORMS[input as keyof typeof FORMS]; // hasOwn has seen it
  const template: Template = textTemplate(input);
  if (namesIn(template).length === 0) {
    const known = Object.keys(FORMS);
    const text = `${JSON.stringify(input)} is not one of ${known.join(', ')}, and no template with {names}${suggestion(input, known)}`;
    source.add('error', 'HF1513', at, text);
  }
  checkNames(namesIn(template), names, variables, source, at);
  return { kind: 'text', template, isPerAnswer: false };
}

function checkNames(
  asked: readonly string[],
  names: readonly string[] | null,
  variables: Variables,
  source: Source,
  at: Path,
): void {
  if (names === null) return;
  const known = [...names, ...variables.keys()];
  for (const name of asked) {
    const [first = ''] = name.split('.');
    if (known.includes(first)) continue;
    const text = `{${name}} is not filled in here; known are ${known.map((word) => `{${word}}`).join(' ')}${suggestion(first, known)}`;
    source.add('error', 'HF1513', at, text);
  }
}

/** In YAML {v} without quotes is a map; nobody means that in a template. */
function findUnquoted(value: unknown, source: Source, at: Path): void {
  const name = unquotedName(value);
  if (name !== null) {
    source.add('error', 'HF1513', at, `{${name}} without quotes is a map in YAML; write "{${name}}"`);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [key, held] of Object.entries(value))
    findUnquoted(held, source, [...at, Array.isArray(value) ? Number(key) : key]);
}

/** What goes out must not be what comes in again. */
export function refuseCircles(
  out: readonly UplinkRule[],
  incoming: readonly UplinkRule[],
  source: Source,
  at: Path,
): void {
  incoming.forEach((rule, index) => {
    const other = out.findIndex(({ to }) => mayMeet(topicsOf(to), topicsOf(rule.from)));
    if (other < 0) return;
    const text = `brings in what out rule ${other} sends (${out[other]?.to ?? ''}); with version 3.1.1 that is a circle: use other topics, or version: 5`;
    source.add('error', 'HF1512', [...at, 'in', index], text);
  });
}

/** A far side may send a message once for each subscription; of two that meet, one is enough only if it takes all of the other. */
export function warnOfTwins(incoming: readonly UplinkRule[], source: Source, at: Path): void {
  for (const [index, { from }] of incoming.entries()) {
    const twin = incoming.slice(0, index).findIndex((rule) => mayCross(rule.from, from));
    if (twin < 0) continue;
    const text = `and that of in rule ${twin} (${incoming[twin]?.from ?? ''}) share topics, and neither takes all of the other's: a far side may send such a message twice; let one of them take all that both do`;
    source.add('warning', 'HF1518', [...at, 'in', index, 'from'], text);
  }
}

/** All topics that a topic with names may become; a name fills one level. */
function topicsOf(to: string): string {
  return to
    .split('/')
    .map((level) => (namesIn(textTemplate(level)).length > 0 ? '+' : level))
    .join('/');
}
