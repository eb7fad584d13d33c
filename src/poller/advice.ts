/** What to look at when a line, a connection or a device's answer cannot be had, by what the system or the device says of it. */
import type { Bus } from '../config/plant.js';
import { isLine } from './linecost.js';

const ADVICE: readonly (readonly [saying: RegExp, advice: string])[] = [
  [/permission denied|EACCES/i, 'may this user open it? serial ports belong to a group, often dialout'],
  [/no such file|ENOENT/i, 'is the adapter plugged in, and the path right?'],
  [/lock|busy|EBUSY|EAGAIN/i, 'does another program hold it?'],
  [/ECONNREFUSED/, 'is the port right, and does the device listen there?'],
  [/ENOTFOUND|EAI_AGAIN/, 'is the name right, and does this machine reach its name server?'],
  [
    /certificate has expired|certificate is not yet valid/,
    'have it renewed, and see that the clock of this gateway is right',
  ],
  [/altnames/, 'its certificate is for another name: write that as host, or as tls.server_name'],
  [
    /self.signed certificate|local issuer|first certificate/,
    'no authority that is trusted here has signed its certificate: name the right one as tls.ca',
  ],
  [
    /alert (certificate required|handshake failure)/,
    'it wants a client certificate that it knows: look at tls.cert and tls.key',
  ],
  [
    /alert (unknown ca|bad certificate|certificate|unsupported certificate|access denied)/,
    'it does not take our certificate: look at tls.cert and its dates, and at the authority over there',
  ],
  [
    /wrong version number|packet length too long/,
    'nothing speaks TLS on that port: try protocol: tcp, or another port',
  ],
  [/alert protocol version|unsupported protocol/, 'it speaks no TLS 1.2 or later'],
  [/TLS handshake/, 'does it speak TLS on that port? if it is only slow, a longer timeout of the bus helps'],
  [/not a Modbus\/TCP frame/, 'is it Modbus TCP? serial servers often want protocol: rtu-over-tcp'],
  [
    /illegal data address/,
    'the device has no such register: try the address one lower or higher, another table, or numbering: modicon for references such as 40001',
  ],
  [/illegal function/, 'the device does not know this function: try another table'],
  [
    /gateway (path|target)/,
    'what lies between has no such unit, or gets no answer of it: check unit_id and the line behind it',
  ],
  [/^(illegal data value|server device|memory parity|exception)/, 'the device says so; its manual tells why'],
  [
    /no valid value/,
    'it answered, but its registers hold no value of this type: try another type or order, and look at invalid: and plausible: of the tag',
  ],
  [/EHOSTUNREACH|ENETUNREACH|ETIMEDOUT/, 'is the address right, and the device on and on this network?'],
];

/** Of a unit that does not answer, too. */
const OF_SILENCE = 'check wiring, address, unit, baud and parity; holdfast scan finds them';
/** Where there is a connection. */
const OF_SILENCE_ON_NETWORK =
  'check unit_id: what stands there alone often has 1 or 255, what is behind a gateway its own, and the line there its baud and parity; holdfast scan finds units';

/** bus: it came from there; one that speaks Modbus/TCP or UDP has no line of ours to look at. */
export function adviceOn(error: string, bus?: Bus): string {
  const isNetwork = bus !== undefined && !isLine(bus);
  const found = ADVICE.find(([saying]) => saying.test(error))?.[1];
  return found ?? (isNetwork ? OF_SILENCE_ON_NETWORK : OF_SILENCE);
}
