/**
 * mosquitto.conf's bridges as uplinks of a gateway file: the same nodes, user, rules and TLS. What has no counterpart is
 * told, line by line, and nothing is guessed.
 */

export interface ImportedBridge {
  /** Name of the uplink. */
  readonly name: string;
  /** What stands under `uplinks: NAME:` in a gateway file, as plain data. */
  readonly uplink: Readonly<Record<string, unknown>>;
}

export interface ImportedBridges {
  readonly bridges: readonly ImportedBridge[];
  /** Lines that were left out, and why; "mosquitto.conf:12: ...". */
  readonly notes: readonly string[];
}

interface Rule {
  readonly from: string;
  readonly to?: string;
  readonly qos: number;
}

interface Draft {
  readonly name: string;
  readonly nodes: string[];
  readonly out: Rule[];
  readonly in: Rule[];
  readonly tls: Record<string, unknown>;
  readonly values: Record<string, unknown>;
}

/** Options that mean nothing here, because it is always so or never. */
const SILENT = new Set([
  'cleansession', 'local_cleansession', 'start_type', 'try_private', 'notifications_local_only', 'restart_timeout',
  'round_robin', 'threshold', 'idle_timeout', 'bridge_attempt_unsubscribe', 'local_clientid', 'bridge_require_ocsp',
  'bridge_max_packet_size', 'bridge_tls_version',
]); // prettier-ignore

/** Reads the text of a mosquitto.conf; other settings than bridges are none of its business. */
export function importBridges(text: string, file = 'mosquitto.conf'): ImportedBridges {
  const drafts: Draft[] = [];
  const notes: string[] = [];
  text.split('\n').forEach((line, index) => {
    const [option = '', ...words] = line.trim().split(/\s+/);
    if (option === '' || option.startsWith('#')) return;
    const note = (what: string): void => void notes.push(`${file}:${index + 1}: ${what}`);
    if (option === 'connection') drafts.push(newDraft(words[0] ?? ''));
    const draft = drafts.at(-1);
    // What stands before the first connection, and listener, are the broker's own.
    if (draft !== undefined && option !== 'connection') takeOption(draft, option, words, note);
  });
  return { bridges: drafts.map(bridgeOf), notes };
}

function newDraft(name: string): Draft {
  return {
    name: name.replace(/[^A-Za-z0-9_-]/g, '_') || 'bridge',
    nodes: [],
    out: [],
    in: [],
    tls: {},
    values: {},
  };
}

function takeOption(
  draft: Draft,
  option: string,
  words: readonly string[],
  note: (what: string) => void,
): void {
  const value = words.join(' ');
  switch (option) {
    case 'address':
    case 'addresses':
      draft.nodes.push(...words);
      return;
    case 'topic':
      return takeTopic(draft, words, note);
    case 'remote_clientid':
    case 'clientid':
      draft.values['client_id'] = value;
      return;
    case 'remote_username':
    case 'username':
      draft.values['user'] = value;
      return;
    case 'remote_password':
    case 'password':
      draft.values['password'] = '${BRIDGE_PASSWORD}';
      return note('the password stays out of the file; set BRIDGE_PASSWORD in the environment');
    case 'keepalive_interval':
      draft.values['keep_alive'] = `${value}s`;
      return;
    case 'bridge_protocol_version':
      draft.values['version'] = value === 'mqttv50' ? '5' : '3.1.1';
      return;
    case 'notification_topic':
      draft.values['status_topic'] = value;
      return note('the state is told as online and offline, not as 1 and 0');
    case 'bridge_cafile':
      draft.tls['ca'] = value;
      return;
    case 'bridge_certfile':
      draft.tls['cert'] = value;
      return;
    case 'bridge_keyfile':
      draft.tls['key'] = value;
      return;
    case 'bridge_alpn':
      draft.tls['alpn'] = words;
      return;
    case 'bridge_insecure':
      if (value === 'true') draft.tls['insecure'] = true;
      return;
    case 'notifications':
      return;
    default:
      if (!SILENT.has(option)) note(`${option} has no counterpart and is left out`);
  }
}

/** topic PATTERN [out|in|both [QOS [LOCAL-PREFIX [REMOTE-PREFIX]]]]; "" is an empty prefix or pattern. */
function takeTopic(draft: Draft, words: readonly string[], note: (what: string) => void): void {
  const [pattern = '', direction = 'out', qos = '0', localPrefix = '', remotePrefix = ''] = words.map(
    (word) => (word === '""' ? '' : word),
  );
  if (!['out', 'in', 'both'].includes(direction))
    return note(`${direction} is neither out, in nor both; left out`);
  const [local, remote] = [localPrefix + pattern, remotePrefix + pattern];
  if (local === '' || remote === '') return note('a rule without a topic is left out');
  const rule = (from: string, to: string): Rule => ({
    from,
    ...(from === to ? {} : { to }),
    qos: Math.min(2, Number(qos) || 0),
  });
  if (direction !== 'in') draft.out.push(rule(local, remote));
  if (direction !== 'out') draft.in.push(rule(remote, local));
}

function bridgeOf({ name, nodes, out, in: incoming, tls, values }: Draft): ImportedBridge {
  const isSecure = Object.keys(tls).length > 0;
  const uplink = {
    nodes: nodes.map((node) => nodeOf(node, isSecure)),
    // mosquitto speaks 3.1.1 to the other side unless it is told otherwise.
    version: '3.1.1',
    ...values,
    ...(isSecure ? { tls } : {}),
    ...(out.length === 0 ? {} : { out }),
    ...(incoming.length === 0 ? {} : { in: incoming }),
  };
  return { name, uplink };
}

function nodeOf(address: string, isSecure: boolean): string {
  const [host = '', port = isSecure ? '8883' : '1883'] = address.split(':');
  return `${isSecure ? 'mqtts' : 'mqtt'}://${host}:${port}`;
}
