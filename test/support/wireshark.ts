/** What Wireshark makes of a capture file when it is told nothing about it. */
import { execFileSync } from 'node:child_process';

/** One record a packet, with its fields by name and its protocols under "protocols"; checksums are looked at. */
export function dissected(file: string): Record<string, string>[] {
  const checks = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  const fields = FIELDS.flatMap((field) => ['-e', field]);
  // As root it warns on stderr.
  const text = execFileSync('tshark', ['-r', file, ...checks, '-T', 'fields', '-E', 'separator=|', ...fields], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return text
    .trimEnd()
    .split('\n')
    .map((line) => Object.fromEntries(line.split('|').map((value, at) => [FIELDS[at] ?? '', value])));
} // prettier-ignore

const FIELDS = [
  'frame.protocols',
  'frame.time_epoch',
  'ip.checksum.status',
  'tcp.checksum.status',
  'udp.checksum.status',
  'tcp.analysis.lost_segment',
  'mbtcp.trans_id',
  'mbtcp.unit_id',
  'modbus.func_code',
  'modbus.exception_code',
  'modbus.reference_num',
  'modbus.word_cnt',
  'modbus.regval_uint16',
  'modbus.request_frame',
  'data.data',
] as const;
