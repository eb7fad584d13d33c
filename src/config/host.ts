/** Hosts as people write them: what is no address and no name is said before anything listens or connects there. */
import { isIP } from 'node:net';

/** What is wrong with the address of a device or of somewhere to listen; null: nothing that can be seen. */
export function wrongHost(host: string): string | null {
  const said = JSON.stringify(host);
  const trimmed = host.trim();
  if (/\s/.test(host)) return `${said} has a space in it; write ${trimmed.replaceAll(/\s/g, '')}`;
  if (/^[^:]*:\d+$|:\/\//.test(host)) return `${host} is more than an address; write the port as port:`;
  const [, inner] = /^\[([\da-fA-F:.]+)\]$/.exec(host) ?? [];
  if (inner !== undefined) return `${host} has brackets, which belong into a URL; write "${inner}"`;
  if (isIP(host) !== 0) return null;
  if (/^\d+(\.\d+){3}$/.test(host))
    return `${host} is neither an address nor a name; write four numbers up to 255, such as 10.0.0.5`;
  if (!/^[\p{L}\p{N}._-]+$/u.test(host) && !host.includes(':'))
    return `${said} is neither an address nor a name; write one such as 10.0.0.5`;
  return null;
}
