/** `share:` of a bus: the port through which other masters reach its units, and who may do what there. */
import { isIP } from 'node:net';
import { checkedHost, isLoopback } from './broker.js';
import type { Source } from './load.js';
import type { ShareSettings } from './plant.js';
import type { Path } from './problems.js';
import type { BusInput } from './schema/bus.js';

const LOOPBACK = ['127.0.0.0/8', '::1'] as const;
const CLIENTS_MAX = 16;

export function shareSettings(input: BusInput['share'], source: Source, at: Path): ShareSettings | null {
  if (input === undefined) return null;
  const host = checkedHost(input.host, source, [...at, 'host']);
  if (input.allow === undefined && !isLoopback(host))
    source.add(
      'error',
      'HF1604',
      at,
      `Modbus asks nobody who he is, and everybody who reaches ${host} could come in; write allow: ["10.0.0.7", "10.0.1.0/24"]`,
      'key',
    );
  const list = (key: 'allow' | 'write', texts: readonly string[]): readonly string[] => {
    texts.forEach((text, index) => {
      if (!isAddress(text))
        source.add(
          'error',
          'HF1604',
          [...at, key, index],
          `${JSON.stringify(text)} is not an address; write 10.0.0.7, or a network such as 10.0.1.0/24`,
        );
    });
    return texts;
  };
  const { write = false } = input;
  return {
    host,
    port: input.port,
    allow: list('allow', input.allow ?? LOOPBACK),
    isWritable: write !== false,
    writers: typeof write === 'boolean' ? null : list('write', write),
    freshMs: input.fresh ?? 0,
    clientsMax: input.max_clients ?? CLIENTS_MAX,
  };
}

function isAddress(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0 || address.includes('%')) return false;
  if (prefix === undefined) return true;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32);
}
