/** One numbered statement of a specification, as the conformance table shows it. */
export interface Statement {
  /** As the specification numbers it, without "MQTT-". */
  readonly id: string;
  /** What it asks, in our words. */
  readonly asks: string;
  /** Client: it binds the client alone, and no answer of a server depends on it. */
  readonly side: 'server' | 'client';
  /** Why no sequence of packets could show a violation. */
  readonly notObservable?: string;
}

export function server(id: string, asks: string): Statement {
  return { id, asks, side: 'server' };
}

export function client(id: string, asks: string): Statement {
  return { id, asks, side: 'client' };
}

export function hidden(id: string, asks: string, notObservable: string): Statement {
  return { id, asks, side: 'server', notObservable };
}
