/**
 * The statistics of buses, devices and requests as metrics: one table says what each is called and where it stands.
 * Quantiles are of the last ten seconds, totals of the time since a bus was started.
 */
import type { Metric } from '../metrics.js';
import type { BusStatistics, DeviceStatistics, RequestStatistics, Times } from '../poller/statistics.js';
import type { BusReport } from './status.js';

type Labels = Readonly<Record<string, string>>;
/** Values, each with what tells it from the others of its metric. */
type Values = readonly (readonly [value: number, labels?: Labels])[];

interface Row<Figures> {
  readonly name: string;
  readonly help: string;
  readonly kind: Metric['kind'];
  readonly values: (figures: Figures) => Values;
}

function times({ count, p50Ms, p95Ms, p99Ms }: Times): Values {
  if (count === 0) return [];
  return [
    [p50Ms / 1000, { quantile: '0.5' }],
    [p95Ms / 1000, { quantile: '0.95' }],
    [p99Ms / 1000, { quantile: '0.99' }],
  ];
}

function counts(label: string, all: Readonly<Record<string, number>>): Values {
  return Object.entries(all).map(([name, count]) => [count, { [label]: name }]);
}

const BUS: readonly Row<BusStatistics & { readonly isConnected: boolean }>[] = [
  row('bus_up', 'gauge', '1 while the link is up', ({ isConnected }) => [[isConnected ? 1 : 0]]),
  row('bus_utilisation_ratio', 'gauge', 'Share of the last seconds with a request under way', (bus) => [
    [bus.utilisation],
  ]),
  row('bus_demand_ratio', 'gauge', 'Share of time that the plan asks for; above 1 is overload', (bus) => [
    [bus.demand],
  ]),
  row('bus_requests_total', 'counter', 'Requests that went on the line', (bus) => [[bus.transactions]]),
  row('bus_reads_total', 'counter', 'Reads of the plan', (bus) => [[bus.reads]]),
  row('bus_writes_total', 'counter', 'Commands carried out', (bus) => [[bus.writes]]),
  row('bus_visits_total', 'counter', 'Requests of other masters', (bus) => [[bus.visits]]),
  row('bus_samples_total', 'counter', 'Samples told', (bus) => [[bus.samples]]),
  row('bus_errors_total', 'counter', 'Requests that failed', (bus) => counts('kind', bus.errors)),
  row('bus_discarded_total', 'counter', 'What came and was no answer to a request', (bus) =>
    counts('reason', bus.discarded),
  ),
  row('bus_missed_total', 'counter', 'Due times passed over because the line was busy', (bus) => [
    [bus.missed],
  ]),
  row('bus_resets_total', 'counter', 'Links closed because nobody answered', (bus) => [[bus.resets]]),
  row('bus_commands_waiting', 'gauge', 'Commands that wait', (bus) => [[bus.waitingCommands]]),
  row('bus_response_seconds', 'gauge', 'From request to answer', (bus) => times(bus.response)),
  row('bus_lateness_seconds', 'gauge', 'From due time to request', (bus) => times(bus.lateness)),
];

const DEVICE: readonly Row<DeviceStatistics>[] = [
  row('device_online', 'gauge', '1 while the device answers', ({ state }) => [[state === 'offline' ? 0 : 1]]),
  row('device_utilisation_ratio', 'gauge', 'Share of the line that the device takes', (device) => [
    [device.utilisation],
  ]),
  row('device_reads_total', 'counter', 'Reads of the device', (device) => [[device.reads]]),
  row('device_errors_total', 'counter', 'Requests that failed', (device) => counts('kind', device.errors)),
  row('device_exceptions_total', 'counter', 'Exceptions by code', (device) =>
    counts('code', device.exceptions),
  ),
  row('device_refused_tags', 'gauge', 'Tags that the device refuses', (device) => [[device.refusedTags]]),
  row('device_response_seconds', 'gauge', 'From request to answer', (device) => times(device.response)),
  row('device_lateness_seconds', 'gauge', 'From due time to request', (device) => times(device.lateness)),
];

const REQUEST: readonly Row<RequestStatistics>[] = [
  row('request_interval_seconds', 'gauge', 'How often it is due', (one) => [[one.intervalMs / 1000]]),
  row('request_tags', 'gauge', 'Tags that it reads', (one) => [[one.tagCount]]),
  row('request_wasted_registers', 'gauge', 'Registers or bits of each read that no tag asked for', (one) => [
    [one.wasted],
  ]),
  row('request_reads_total', 'counter', 'How often it was read', (one) => [[one.reads]]),
  row('request_errors_total', 'counter', 'How often it failed', (one) => counts('kind', one.errors)),
  row('request_response_seconds', 'gauge', 'From request to answer', (one) => times(one.response)),
  row('request_lateness_seconds', 'gauge', 'From due time to request', (one) => times(one.lateness)),
];

function row<Figures>(
  name: string,
  kind: Metric['kind'],
  help: string,
  values: Row<Figures>['values'],
): Row<Figures> {
  return { name, help, kind, values };
}

/** One metric after the other, as the format wants it. */
export function* fieldMetrics(reports: readonly BusReport[]): Generator<Metric> {
  yield* family(
    BUS,
    reports.map(({ name, isUp, figures }) => [{ bus: name }, { ...figures, isConnected: isUp }]),
  );
  const devices = reports.flatMap(({ name: bus, devices: all }) => all.map((one) => ({ bus, ...one })));
  yield* family(
    DEVICE,
    devices.map(({ bus, name, figures }) => [{ bus, device: name }, figures]),
  );
  yield* family(
    REQUEST,
    devices.flatMap(({ bus, name, figures }) =>
      figures.requests.map((request) => [labelsOf(bus, name, request), request] as const),
    ),
  );
}

function labelsOf(
  bus: string,
  device: string,
  { table, address, quantity, intervalMs }: RequestStatistics,
): Labels {
  return { bus, device, table, address: `${address}`, quantity: `${quantity}`, interval: `${intervalMs}ms` };
}

function* family<Figures>(
  rows: readonly Row<Figures>[],
  all: readonly (readonly [Labels, Figures])[],
): Generator<Metric> {
  for (const { name, help, kind, values } of rows)
    for (const [labels, figures] of all)
      for (const [value, own] of values(figures))
        yield { name, help, kind, labels: { ...labels, ...own }, read: () => value };
}
