/**
 * What is measured: mqload's arguments, the brokers that are compared (the first is the reference), the figures that
 * are printed, and the rows of the table of targets: what a figure must be at most (or at least) and what it aims at,
 * as a multiple of the reference or, where nobody else has such a figure, as it is.
 */
const CPU = 'broker_cpu_us_per_msg';
const RATE = 'msgs_per_s';
const P50 = 'latency_us.p50';
const flow = [RATE, CPU];
const delay = [P50, 'latency_us.p99', CPU];
const kept = ['msgs_per_s', 'broker_cpu_us_per_msg', 'rss_bytes_per_msg'];
const stored = [
  ...kept.map((figure) => `fill.${figure}`),
  ...kept.slice(0, 2).map((figure) => `drain.${figure}`),
];

const RIVALS = ['mosquitto', 'holdfast', 'aedes'];
const PROMPT = ['mosquitto-nodelay', 'holdfast', 'aedes'];
const DURABLE = ['mosquitto', 'holdfast-commit'];

const atMost = (figure, title, must, aim) => ({ figure, title, must, aim, isMore: false });
const atLeast = (figure, title, must, aim) => ({ figure, title, must, aim, isMore: true });
/** A figure that stands for itself. */
const plain = (figure, title, unit, must, aim) => ({ figure, title, unit, must, aim, isMore: false });
const cpu = (title, must, aim) => [atMost(CPU, `${title}, CPU a message`, must, aim)];

export const scenarios = {
  'p2p-q0': {
    args: 'p2p --pubs 10 --window 500',
    figures: flow,
    rows: cpu('10 pairs, QoS 0', 1 / 10, 1 / 25),
  },
  'p2p-q1': {
    args: 'p2p --pubs 10 --window 500 --qos 1',
    figures: flow,
    rows: cpu('10 pairs, QoS 1', 1 / 8, 1 / 18),
  },
  'p2p-q2': {
    args: 'p2p --pubs 10 --window 500 --qos 2',
    figures: flow,
    rows: cpu('10 pairs, QoS 2', 1 / 8, 1 / 20),
  },
  'p2p-q0-topics': {
    args: 'p2p --pubs 10 --window 500 --topics 100',
    figures: flow,
    rows: cpu('10 pairs, QoS 0, 100 topics each', 1 / 8, 1 / 20),
  },
  'p2p-q0-1k': {
    args: 'p2p --pubs 10 --window 500 --size 1024',
    figures: flow,
    rows: cpu('10 pairs, QoS 0, 1 KiB', 1 / 6, 1 / 12),
  },
  // One message per read and write: nothing can be batched.
  'p2p-q0-single': {
    args: 'p2p --pubs 100 --window 1',
    figures: flow,
    rows: cpu('one message at a time, 100 pairs, QoS 0', 0.8, 0.62),
  },
  'p2p-q1-single': {
    args: 'p2p --pubs 100 --window 1 --qos 1',
    figures: flow,
    rows: cpu('one message at a time, 100 pairs, QoS 1', 1, 0.85),
  },
  'fanin-q0': {
    args: 'fanin --pubs 100 --window 50',
    figures: flow,
    rows: cpu('100 to 1, QoS 0', 1 / 10, 1 / 20),
  },
  'fanin-q1': {
    args: 'fanin --pubs 100 --window 50 --qos 1',
    figures: flow,
    rows: cpu('100 to 1, QoS 1', 1 / 6, 1 / 10),
  },
  'fanout100-q0': {
    args: 'fanout --subs 100 --window 100',
    figures: flow,
    rows: cpu('1 to 100, QoS 0', 1 / 14, 1 / 30),
  },
  'fanout100-q1': {
    args: 'fanout --subs 100 --window 100 --qos 1',
    figures: flow,
    rows: cpu('1 to 100, QoS 1', 1 / 8, 1 / 14),
  },
  'fanout1000-q0': {
    args: 'fanout --subs 1000 --window 50',
    figures: flow,
    rows: [atLeast(RATE, '1 to 1000, QoS 0, messages/s', 14, 30)],
  },
  'devices-10k': {
    args: 'fanin --pubs 1000 --rate 10000',
    figures: delay,
    rows: cpu('1000 devices at 10k messages/s in all', 1.3, 1),
  },
  'latency-1k-q0': latency(1000, 0, 1.3, 1.1),
  'latency-1k-q1': latency(1000, 1, 1.3, 1.1),
  'latency-10k-q0': latency(10_000, 0, 1.1, 1),
  'latency-10k-q1': latency(10_000, 1, 1.1, 1),
  'subs-100k': {
    args: 'subs --n 100k --wide 10',
    figures: ['subscribes_per_s', 'broker_rss_bytes_per_filter', ...flow],
    rows: [
      atLeast(RATE, '100k filters: deliveries/s', 2, 3.5),
      atLeast('subscribes_per_s', '100k filters: SUBSCRIBE/s', 2, 4),
      atMost('broker_rss_bytes_per_filter', '100k filters: bytes a filter', 1.1, 0.9),
    ],
  },
  'retained-100k': {
    args: 'retained --n 100k --qos 1',
    figures: stored,
    rows: [
      atMost(`fill.${CPU}`, '100k retained: CPU to store one', 0.4, 0.2),
      atLeast(`drain.${RATE}`, '100k retained: fetched/s', 1.5, 3),
    ],
  },
  'offline-100k': {
    args: 'durable --n 100k --qos 1',
    figures: stored,
    rows: [
      atMost(`fill.${CPU}`, '100k for an offline client: CPU to queue one', 0.3, 0.15),
      atLeast(`drain.${RATE}`, '100k for an offline client: drained/s', 1.5, 3),
    ],
  },
  'commit-p2p': {
    args: 'p2p --pubs 10 --window 500 --qos 1 --kept',
    figures: flow,
    brokers: DURABLE,
    rows: [atLeast(RATE, 'durable QoS 1, 10 pairs, receivers there, messages/s', 3, 8)],
  },
  'commit-offline': {
    args: 'durable --phase fill --n 600k --qos 1 --inflight 2000',
    figures: stored.slice(0, 3),
    brokers: DURABLE,
    rows: [atLeast(`fill.${RATE}`, 'durable QoS 1, receiver away, messages/s', 3, 8)],
  },
  'connect-10k': {
    args: 'conn --n 10000 --hold 4',
    figures: ['connects_per_s', 'broker_cpu_us_per_connect', 'broker_rss_held_kb', 'broker_idle_cpu_share'],
    rows: [plain('broker_rss_bytes_per_conn', '10,000 idle connections: bytes each', 'B', 6144, 3072)],
  },
  gc: {
    args: 'latency --rate 10000 --qos 1 --duration 60',
    quickArgs: 'latency --rate 10000 --qos 1 --duration 8',
    figures: ['gc.minor', 'gc.totalMs'],
    brokers: ['holdfast-gc'],
    rows: [
      plain('gc.worstMs', '10k messages/s for a minute: longest collection', 'ms', 10, 3),
      plain('gc.major', '10k messages/s for a minute: major collections', '', 0, 0),
    ],
  },
  idle: {
    args: null,
    figures: [],
    brokers: ['holdfast-gateway'],
    rows: [
      plain('idle.rssMb', 'idle gateway: resident memory', 'MB', 65, 52),
      plain('idle.anonymousMb', 'idle gateway: of that its own', 'MB', 25, 14),
    ],
  },
};

function latency(rate, qos, must, aim) {
  return {
    args: `latency --rate ${rate} --qos ${qos}`,
    figures: delay,
    brokers: PROMPT,
    rows: [atMost(P50, `latency at ${rate / 1000}k messages/s, QoS ${qos}, p50`, must, aim)],
  };
}

export const brokersOf = (scenario) => scenario.brokers ?? RIVALS;

/** What two minutes allow. */
export const QUICK =
  /^(p2p-q[012]|p2p-q1-single|fanin-q1|fanout100-q0|subs|retained|offline|commit-p2p|idle)/;
