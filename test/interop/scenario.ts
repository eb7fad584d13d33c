/**
 * The scenario that every client library runs, as data: steps that a library's driver carries out, and what a conforming
 * broker must let each see. Topics and client identifiers are prefixed by the driver, so runs do not meet.
 */

/** MQTT 5 properties, by the names the drivers translate. */
export interface Properties {
  readonly userProperties?: readonly (readonly [string, string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: string;
  readonly payloadFormat?: number;
}

export interface Publication {
  readonly topic: string;
  readonly payload: string;
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

/** Connects as this client, subscribes, sees the inner steps done, and takes messages until it has this many. */
export interface Listen {
  readonly do: 'listen';
  readonly client: string;
  /** Seconds the session outlives the connection; 0: a clean one. */
  readonly keepS: number;
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** Subscribed and unsubscribed again before the inner steps. */
  readonly dropped?: readonly string[];
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: 0 | 1 | 2;
  readonly identifier?: number;
  readonly meanwhile: readonly (Publish | Die)[];
  readonly sees: readonly Seen[];
}

export interface Publish {
  readonly do: 'publish';
  readonly publications: readonly Publication[];
}

/** A client with this will connects and is lost, or takes its leave. */
export interface Die {
  readonly do: 'die';
  readonly will: Publication;
  readonly isPolite: boolean;
}

export type Step = Listen | Publish | Die;

/** A message as a library hands it to its user. */
export interface Seen {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly properties?: Properties;
  readonly identifier?: number;
}

const publication = (topic: string, payload: string, qos: 0 | 1 | 2, retain = false): Publication => ({ topic, payload, qos, retain }); // prettier-ignore
const seen = (topic: string, payload: string, qos: number, retain = false): Seen => ({ topic, payload, qos, retain }); // prettier-ignore
const publish = (...publications: readonly Publication[]): Publish => ({ do: 'publish', publications });
const listener = { do: 'listen', keepS: 0, qos: 2, meanwhile: [] } as const;
const END = publication('end', 'end', 1);

/** Steps of both versions. */
const COMMON: readonly Step[] = [
  {
    ...listener,
    client: 'live',
    filters: ['live/+/x'],
    meanwhile: [
      publish(publication('live/a/x', 'zero', 0), publication('live/b/x', 'one', 1), publication('live/ö/x', 'two', 2)), // prettier-ignore
    ],
    sees: [seen('live/a/x', 'zero', 0), seen('live/b/x', 'one', 1), seen('live/ö/x', 'two', 2)],
  },
  {
    ...listener,
    client: 'lower',
    filters: ['lower'],
    qos: 1,
    meanwhile: [
      publish(publication('lower', 'a', 0), publication('lower', 'b', 1), publication('lower', 'c', 2)),
    ],
    sees: [seen('lower', 'a', 0), seen('lower', 'b', 1), seen('lower', 'c', 1)],
  },
  publish(publication('kept/a', '1', 0, true), publication('kept/b', '2', 1, true), publication('kept/c', '3', 2, true)), // prettier-ignore
  {
    ...listener,
    client: 'late',
    filters: ['kept/#'],
    meanwhile: [publish(publication('kept/a', 'live', 1, true))],
    sees: [seen('kept/a', '1', 0, true), seen('kept/b', '2', 1, true), seen('kept/c', '3', 2, true), seen('kept/a', 'live', 1)], // prettier-ignore
  },
  publish(publication('kept/b', '', 1, true), publication('kept/c', 'passing', 1)),
  {
    ...listener,
    client: 'later',
    filters: ['kept/#'],
    sees: [seen('kept/a', 'live', 1, true), seen('kept/c', '3', 2, true)],
  },
  { ...listener, client: 'absent', keepS: 60, filters: ['queue/#', 'end'], meanwhile: [publish(END)], sees: [seen('end', 'end', 1)] }, // prettier-ignore
  publish(publication('queue/a', '1', 1), publication('queue/b', '2', 2), publication('queue/a', '3', 1)),
  {
    ...listener,
    client: 'absent',
    keepS: 60,
    filters: ['queue/#', 'end'],
    sees: [seen('queue/a', '1', 1), seen('queue/b', '2', 2), seen('queue/a', '3', 1)],
  },
  publish(publication('queue/a', 'lost', 1)),
  { ...listener, client: 'absent', filters: ['queue/#', 'end'], meanwhile: [publish(END)], sees: [seen('end', 'end', 1)] }, // prettier-ignore
  {
    ...listener,
    client: 'heir',
    filters: ['will/#'],
    meanwhile: [
      { do: 'die', will: publication('will/polite', 'none', 1), isPolite: true },
      { do: 'die', will: publication('will/lost', 'gone', 2, true), isPolite: false },
    ],
    sees: [seen('will/lost', 'gone', 2)],
  },
  { ...listener, client: 'latecomer', filters: ['will/#'], sees: [seen('will/lost', 'gone', 2, true)] },
  {
    ...listener,
    client: 'dropping',
    filters: ['drop/a', 'end'],
    dropped: ['drop/b'],
    meanwhile: [publish(publication('drop/b', 'unheard', 1), publication('drop/a', 'heard', 1))],
    sees: [seen('drop/a', 'heard', 1)],
  },
];

const PROPERTIES: Properties = {
  userProperties: [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
  ],
  contentType: 'text/plain',
  responseTopic: 'answers/here',
  correlationData: 'ref-7',
  payloadFormat: 1,
};

const OF_5: readonly Step[] = [
  {
    ...listener,
    client: 'properties',
    filters: ['props/#'],
    identifier: 42,
    meanwhile: [publish({ ...publication('props/a', 'x', 1, true), properties: PROPERTIES })],
    sees: [{ ...seen('props/a', 'x', 1), properties: PROPERTIES, identifier: 42 }],
  },
  {
    ...listener,
    client: 'kept properties',
    filters: ['props/#'],
    sees: [{ ...seen('props/a', 'x', 1, true), properties: PROPERTIES }],
  },
  {
    ...listener,
    client: 'as published',
    filters: ['rap/#'],
    retainAsPublished: true,
    meanwhile: [publish(publication('rap/a', 'retained', 1, true), publication('rap/b', 'plain', 1))],
    sees: [seen('rap/a', 'retained', 1, true), seen('rap/b', 'plain', 1)],
  },
  {
    ...listener,
    client: 'none retained',
    filters: ['rap/#', 'end'],
    retainHandling: 2,
    meanwhile: [publish(END)],
    sees: [seen('end', 'end', 1)],
  },
  {
    ...listener,
    client: 'sharer',
    filters: ['$share/group/share/#'],
    meanwhile: [publish(publication('share/a', '1', 1), publication('share/b', '2', 2))],
    sees: [seen('share/a', '1', 1), seen('share/b', '2', 2)],
  },
];

export function stepsOf(version: 4 | 5): readonly Step[] {
  return version === 5 ? [...COMMON, ...OF_5] : COMMON;
}

export interface Driver {
  readonly name: string;
  /** One list of messages for each listening step. */
  run(host: string, port: number, version: 4 | 5, prefix: string): Promise<readonly (readonly Seen[])[]>;
}

/** A filter below the prefix; a share keeps its group in front. */
export function prefixed(prefix: string, topic: string): string {
  const share = /^\$share\/[^/]+\//.exec(topic)?.[0] ?? '';
  return `${share}${prefix}/${topic.slice(share.length)}`;
}
