/** Each uplink: the node it talks to, what waits, and what last went wrong. */
import type { FunctionComponent } from 'preact';
import { nowMs } from './clock.js';
import { say } from './language.js';
import { Failure, Table, useAnswer } from './parts.js';
import { ageText } from './texts.js';

interface UplinkAbout {
  readonly name: string;
  readonly isConnected: boolean;
  readonly node: string;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly oldestMs: number;
  readonly error: string;
}

export const UplinksView: FunctionComponent = () => {
  const { answer, failure } = useAnswer<{ uplinks: readonly UplinkAbout[] }>('uplinks', 3000);
  if (answer?.uplinks.length === 0) return <p>{say('no_uplinks')}</p>;
  return (
    <>
      <Failure text={failure} />
      <Table
        caption={say('uplinks')}
        heads={[say('name'), say('state'), say('node'), say('queue'), say('oldest'), say('last_error')]}
      >
        {answer?.uplinks.map((uplink) => (
          <tr key={uplink.name}>
            <th scope="row">{uplink.name}</th>
            <td class={uplink.isConnected ? 'online' : 'offline'}>
              {say(uplink.isConnected ? 'online' : 'offline')}
            </td>
            <td>{uplink.node}</td>
            <td>
              {uplink.queuedMessages} ({Math.ceil(uplink.queuedBytes / 1024)} KiB)
            </td>
            <td>{uplink.oldestMs === 0 ? '–' : ageText(nowMs.value - uplink.oldestMs)}</td>
            <td>{uplink.error}</td>
          </tr>
        ))}
      </Table>
    </>
  );
};
