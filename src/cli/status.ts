/** `holdfast status`: how a running gateway is. */
import { spanText, sizeText } from '../config/units.js';
import { BROKER_OPTIONS, plantOf } from './brokerlink.js';
import { Daemon, GATEWAY_OPTION } from './daemon.js';
import { columns, type Paint, paintOf } from './paint.js';
import { EXIT, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'status',
  summary: 'say how a running gateway is',
  arguments: '',
  options: [
    ...BROKER_OPTIONS,
    GATEWAY_OPTION,
    {
      flags: '--strict',
      description: 'end with 4 when a bus or device is not well, with 6 when an uplink is not',
    },
    { flags: '--json', description: 'one JSON document' },
  ],
  examples: [
    { command: 'status -c holdfast.yaml', meaning: 'buses, devices and uplinks, and what is wrong' },
    { command: 'status --json', meaning: 'the gateway of this machine, for scripts' },
    { command: 'status --strict > /dev/null', meaning: 'ends with 0 only when all is well' },
  ],
  run,
};

/** Of req/status. */
export interface Summary {
  readonly gateway: string;
  readonly uptime: number;
  readonly memory: { readonly rss: number };
  readonly buses: readonly { readonly name: string; readonly state: string; readonly error?: string }[];
  readonly devices: readonly {
    readonly name: string;
    readonly state: string;
    readonly since: number;
    readonly error?: string;
  }[];
  /** A gateway of an older version does not tell them. */
  readonly uplinks?: readonly {
    readonly name: string;
    readonly state: string;
    readonly queued: number;
    readonly error?: string;
  }[];
  readonly tags: number;
}

async function run(context: Context): Promise<number> {
  const { options, stdout } = context;
  const daemon = await Daemon.open(context, await plantOf(context));
  try {
    // Answered by our own gateway.
    const summary = (await daemon.request('status')) as Summary;
    const isFieldWell =
      summary.buses.every(({ state }) => state === 'up') &&
      summary.devices.every(({ state }) => state === 'online');
    const isWell = isFieldWell && (summary.uplinks ?? []).every(({ state }) => state === 'up');
    stdout.write(
      options['json'] === true
        ? `${JSON.stringify({ well: isWell, ...summary }, null, 2)}\n`
        : `${textOf(summary, paintOf(context)).join('\n')}\n`,
    );
    if (options['strict'] !== true || isWell) return EXIT.ok;
    return isFieldWell ? EXIT.refused : EXIT.deviceSilent;
  } finally {
    await daemon.close();
  }
}

function textOf(summary: Summary, paint: Paint): string[] {
  const { gateway, uptime, memory, buses, devices, uplinks = [], tags } = summary;
  const said = (state: string): string =>
    state === 'up' || state === 'online'
      ? paint('green', state)
      : paint(state === 'degraded' ? 'yellow' : 'red', state);
  const up = spanText(uptime * 1000);
  const rows = [
    ...buses.map(({ name, state, error }) => [`bus ${name}`, said(state), error ?? '']),
    ...devices.map(({ name, state, since, error }) => {
      const forMs = Math.max(0, Math.round((Date.now() - since) / 1000)) * 1000;
      return [`device ${name}`, said(state), [`for ${spanText(forMs)}`, error].filter(Boolean).join(': ')];
    }),
    ...uplinks.map(({ name, state, queued, error }) => {
      const waiting = queued === 0 ? '' : `${queued} messages wait`;
      return [`uplink ${name}`, said(state), [waiting, error].filter(Boolean).join(': ')];
    }),
  ];
  return [`${gateway}  up ${up}, ${sizeText(memory.rss)} memory, ${tags} tags`, ...columns(rows)];
}
