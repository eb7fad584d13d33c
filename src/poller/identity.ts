/** What a unit says that it is: read device identification (43/14), report server ID (17), the common model of SunSpec. */
import type { Client } from '../modbus/client.js';
import { FUNCTION } from '../modbus/protocol.js';
import type { SunSpecWalk } from '../modbus/sunspec.js';

export const IDENTITY_TIMEOUT_MS = 500;

/** Empty: nothing. */
export async function identityOf(client: Client, unitId: number, sunSpec: SunSpecWalk): Promise<string> {
  const said = (await deviceIdentification(client, unitId)) ?? (await serverId(client, unitId));
  const models = sunSpec.kind === 'found' ? [said === null ? sunSpec.title : '', 'SunSpec'] : [];
  return joined([said ?? '', ...models]) ?? '';
}

async function deviceIdentification(client: Client, unitId: number): Promise<string | null> {
  const answer = await client.request(
    { kind: 'raw', unitId, functionCode: FUNCTION.encapsulatedInterface, data: Uint8Array.of(14, 1, 0) },
    IDENTITY_TIMEOUT_MS,
  );
  if (!answer.ok || answer.data[0] !== 14) return null;
  const { data } = answer;
  const texts: string[] = [];
  // MEI type, code, conformity, more follows, next object, number of objects; then id, length and text of each (6.21).
  for (let at = 6; at + 2 <= data.length; at += 2 + (data[at + 1] ?? 0))
    texts.push(printable(data.subarray(at + 2, at + 2 + (data[at + 1] ?? 0))));
  return joined(texts);
}

async function serverId(client: Client, unitId: number): Promise<string | null> {
  const answer = await client.request(
    { kind: 'raw', unitId, functionCode: FUNCTION.reportServerId, data: new Uint8Array(0) },
    IDENTITY_TIMEOUT_MS,
  );
  // A byte count before the text.
  return answer.ok ? joined([printable(answer.data.subarray(1))]) : null;
}

function printable(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('latin1')
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim();
}

function joined(texts: readonly string[]): string | null {
  const text = texts.filter((one) => /[A-Za-z0-9]/.test(one)).join(' ');
  return text === '' ? null : text;
}
