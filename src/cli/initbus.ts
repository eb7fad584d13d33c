/** The questions of `init` about the bus: a serial port that was found, or an address on the network. */
import { ask, askChoice, askUntil } from './ask.js';
import { serialPorts } from './serialports.js';
import type { Context } from './verb.js';

export interface AskedBus {
  readonly name: string;
  /** Of a serial line without baud and format when nobody knows them: a scan is to find them. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What is answered by those who do not know. */
const UNKNOWN = '?';

const FORMAT = /^[78][NEO][12]$/;

export async function askBus(context: Context): Promise<AskedBus> {
  const ports = serialPorts();
  const choices = [
    ...ports.map(({ path, device }) =>
      path === device ? `serial port ${path}` : `serial port ${path} (${device})`,
    ),
    'another serial port',
    'network: Modbus TCP',
    'network: a serial converter that carries RTU (RTU over TCP)',
  ];
  const choice = await askChoice('How are the devices connected?', choices, context);
  if (choice <= ports.length)
    return serialBus(ports[choice]?.path ?? (await askUntil('path', '', absolute, context)), context);
  const isConverter = choice === ports.length + 2;
  const place = await askUntil('address, as in 10.0.0.5 or 10.0.0.5:502', '', placeProblem, context);
  const [host = '', port] = place.split(/:(?=\d+$)/);
  const name = isConverter ? 'line1' : 'plc';
  const protocol = isConverter ? 'rtu-over-tcp' : 'tcp';
  return { name, settings: { protocol, host, port: Number(port ?? (isConverter ? 4001 : 502)) } };
}

async function serialBus(path: string, context: Context): Promise<AskedBus> {
  const baud = await askUntil(
    'baud, or ? to find out',
    '9600',
    (answer) => (answer === UNKNOWN || /^\d{3,7}$/.test(answer) ? null : 'a number, or ?'),
    context,
  );
  if (baud === UNKNOWN) return { name: 'line1', settings: { protocol: 'rtu', path } };
  const format = await ask('data bits, parity, stop bits', '8N1', context);
  const isFormat = FORMAT.test(format.toUpperCase());
  if (!isFormat) context.stderr.write(`  ${format} is no format; 8N1 it is\n`);
  const settings = {
    protocol: 'rtu',
    path,
    baud: Number(baud),
    format: isFormat ? format.toUpperCase() : '8N1',
  };
  return { name: 'line1', settings };
}

function absolute(path: string): string | null {
  return path.startsWith('/') ? null : 'a path such as /dev/ttyUSB0';
}

function placeProblem(answer: string): string | null {
  return /^[\w.-]+(:\d{1,5})?$/.test(answer) ? null : 'a name or address, and perhaps :PORT';
}
