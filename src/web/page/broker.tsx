/** The broker: who is connected, what topics hold, and the counters it publishes itself. */
import { useSignal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';
import { say } from './language.js';
import { Failure, Table, useAnswer } from './parts.js';
import { request, subscribe } from './session.js';

interface ClientAbout {
  readonly clientId: string;
  readonly user: string;
  readonly address: string;
  readonly version: 4 | 5;
  readonly isConnected: boolean;
  readonly subscriptions: readonly string[];
  readonly queuedMessages: number;
}

const TOPICS_MAX = 2000;
const PAYLOAD_SHOWN = 200;

export const BrokerView: FunctionComponent = () => (
  <>
    <Clients />
    <Topics caption={say('topics')} filter="#" />
    <Topics caption={say('counters')} filter="$SYS/#" />
  </>
);

const Clients: FunctionComponent = () => {
  const { answer, failure } = useAnswer<readonly ClientAbout[]>('clients', 5000);
  const refused = useSignal<string | null>(null);
  const disconnect = (clientId: string): void => {
    request('disconnect', { client: clientId }).catch((error: unknown) => (refused.value = String(error)));
  };
  return (
    <>
      <Failure text={failure ?? refused.value} />
      <Table
        caption={say('clients')}
        heads={[
          say('client'),
          say('user'),
          say('from'),
          say('version'),
          say('state'),
          say('subscriptions'),
          say('queued'),
          say('disconnect'),
        ]}
      >
        {answer?.map((client) => (
          <tr key={client.clientId}>
            <th scope="row">{client.clientId}</th>
            <td>{client.user}</td>
            <td>{client.address}</td>
            <td>{client.version === 5 ? '5.0' : '3.1.1'}</td>
            <td>{say(client.isConnected ? 'connected' : 'away')}</td>
            <td>{client.subscriptions.length}</td>
            <td>{client.queuedMessages}</td>
            <td>
              {client.isConnected && (
                <button type="button" onClick={() => disconnect(client.clientId)}>
                  {say('disconnect')}
                </button>
              )}
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
};

/** Topics and what was last seen on them, drawn once a second. Text nodes only, whatever a payload holds. */
const Topics: FunctionComponent<{ caption: string; filter: string }> = ({ caption, filter }) => {
  const rows = useSignal<readonly [string, string][]>([]);
  useEffect(() => {
    const seen = new Map<string, string>();
    const decoder = new TextDecoder();
    const leave = subscribe(filter, (topic, payload) => {
      if (seen.size < TOPICS_MAX || seen.has(topic))
        seen.set(topic, decoder.decode(payload.subarray(0, PAYLOAD_SHOWN)));
    });
    const timer = setInterval(() => (rows.value = [...seen].sort(([a], [b]) => (a < b ? -1 : 1))), 1000);
    return () => {
      clearInterval(timer);
      leave();
    };
  }, [filter, rows]);
  return (
    <Table caption={caption} heads={[say('topic'), say('payload')]}>
      {rows.value.map(([topic, payload]) => (
        <tr key={topic}>
          <th scope="row">{topic}</th>
          <td>
            <code>{payload}</code>
          </td>
        </tr>
      ))}
    </Table>
  );
};
