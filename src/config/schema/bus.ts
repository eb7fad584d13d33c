/** A bus: a serial line or a connection, its timing, and the port through which others share it. */
import * as z from 'zod/mini';
import { levelShape } from './level.js';
import { type Said, about, duration, shown, text, truth, whole } from './words.js';

const shareSchema = z.strictObject({
  host: z.optional(text().check(about('Address to listen on.', '127.0.0.1'))),
  port: whole(0, 65_535).check(about('TCP port; 0 picks a free one, named in the log.')),
  allow: z.optional(
    z
      .array(text('an address'))
      .check(
        about(
          'Addresses and networks that may connect: `["10.0.0.7", "10.0.1.0/24"]`. This machine unless given; must be given when `host` is another address.',
        ),
      ),
  ),
  write: z.optional(
    z
      .union([truth(), z.array(text('an address'))])
      .check(about('Whether clients may write, or the addresses of those that may.', false)),
  ),
  fresh: z.optional(
    duration().check(
      about('What was read so lately is answered at once, without asking the unit again.', '0s'),
    ),
  ),
  max_clients: z.optional(whole(1, 1000).check(about('Connections at once.', 16))),
});

const SERIAL_FORMAT = /^[78][NEOneo][12]$/;
const BUS_PROTOCOLS = ['tcp', 'tls', 'udp', 'rtu', 'ascii', 'rtu-over-tcp', 'ascii-over-tcp'] as const;
export const busSchema = z.strictObject({
  protocol: z.enum(BUS_PROTOCOLS).check(about('Modbus on the wire. A converter that only carries bytes is `rtu-over-tcp`.')),
  host: z.optional(text().check(about('Address of the device or converter.'))),
  port: z.optional(whole(1, 65_535).check(about('TCP or UDP port; 502, or 802 with TLS.'))),
  path: z.optional(text().check(about('Serial port; /dev/serial/by-id/... survives replugging.'))),
  baud: z.optional(whole(50, 4_000_000).check(about('Speed of a serial line.', 9600))),
  format: z.optional(z.string().check(z.regex(SERIAL_FORMAT, { error: ({ input }: Said) => `${shown(input)} is not a format; write data bits, parity, stop bits: 8N1, 8E1, 8N2, 7E1` }), about('Data bits, parity (N, E, O), stop bits.'))),
  timeout: z.optional(duration().check(about('The longest wait for an answer.'))),
  in_flight: z.optional(whole(1, 64).check(about('Requests under way at once, on TCP only.', 1))),
  pace: z.optional(duration().check(about('Pause between one exchange and the next.', '0s'))),
  after_connect: z.optional(duration().check(about('Wait after connecting, before the first request.', '0s'))),
  close_idle: z.optional(duration().check(about('Close the connection after so long without work.'))),
  silence: z.optional(duration().check(about('Silence between frames; 3.5 characters unless given.'))),
  turnaround: z.optional(duration().check(about('How long a device usually thinks, until it was measured; waited after a broadcast.'))),
  echo: z.optional(truth().check(about('The adapter hands back what was sent.', false))),
  tls: z.optional(
    z.strictObject({
      ca: z.optional(text()),
      cert: z.optional(text()),
      key: z.optional(text()),
      server_name: z.optional(text()),
    }).check(about('Modbus/TCP Security: files of the authority, the certificate and the key.')),
  ),
  after_switch: z.optional(duration().check(about('Pause before a request to another unit than the last one.', '0s'))),
  share: z.optional(shareSchema.check(about('A Modbus TCP port through which other masters reach the same units, in turn with the polls.'))),
  rate: levelShape.rate, report: levelShape.report, deadband: levelShape.deadband, heartbeat: levelShape.heartbeat,
  payload: levelShape.payload, qos: levelShape.qos, retain: levelShape.retain, stored: levelShape.stored,
  order: levelShape.order, numbering: levelShape.numbering,
}); // prettier-ignore

export type BusInput = z.output<typeof busSchema>;
