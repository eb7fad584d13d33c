/** Each device: state since when, response times, errors by kind, and the requests its tags became. */
import type { FunctionComponent } from 'preact';
import { say } from './language.js';
import { Fact, Facts, Failure, Table, useAnswer } from './parts.js';
import { deviceStates, plant, type DeviceAbout } from './plant.js';
import { clockText, intervalText, milliseconds } from './texts.js';

export interface DeviceFigures {
  readonly name: string;
  readonly p50Ms?: number;
  readonly p95Ms?: number;
  readonly p99Ms?: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly requests: readonly {
    readonly table: string;
    readonly address: number;
    readonly quantity: number;
    readonly intervalMs: number;
  }[];
}

export const DeviceView: FunctionComponent = () => {
  const { answer, failure } = useAnswer<{ devices: readonly DeviceFigures[] }>('statistics', 5000);
  return (
    <>
      <Failure text={failure} />
      {plant.value?.devices.map((device) => (
        <Device
          key={device.name}
          device={device}
          figures={answer?.devices.find(({ name }) => name === device.name)}
        />
      ))}
    </>
  );
};

const Device: FunctionComponent<{ device: DeviceAbout; figures: DeviceFigures | undefined }> = ({
  device,
  figures,
}) => {
  const state = deviceStates.value.get(device.name);
  const errors = Object.entries(figures?.errors ?? {}).filter(([, count]) => count > 0);
  return (
    <section class="card">
      <h2>{device.name}</h2>
      <Facts>
        <Fact name={say('state')} state={state?.state ?? 'unknown'}>
          {say(state?.state ?? 'unknown')}{' '}
          {state !== undefined && <small>{say('since', { time: clockText(state.since) })}</small>}{' '}
          {state?.error}
        </Fact>
        <Fact name={say('bus')}>
          {device.bus}, {say('unit')} {device.unitId}
        </Fact>
        <Fact name={say('response')}>
          {milliseconds(figures?.p50Ms)} / {milliseconds(figures?.p95Ms)} / {milliseconds(figures?.p99Ms)}
        </Fact>
        <Fact name={say('errors')}>
          {errors.length === 0 ? say('none') : errors.map(([kind, count]) => `${kind}: ${count}`).join(', ')}
        </Fact>
      </Facts>
      {(figures?.requests.length ?? 0) > 0 && (
        <Table
          caption={say('requests')}
          heads={[say('table'), say('address'), say('quantity'), say('interval')]}
        >
          {figures?.requests.map((request) => (
            <tr key={`${request.table} ${request.address} ${request.intervalMs}`}>
              <th scope="row">{request.table}</th>
              <td>{request.address}</td>
              <td>{request.quantity}</td>
              <td>{intervalText(request.intervalMs)}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
};
