/** DISCONNECT from a client: whether its will is discarded, and how long its session is kept from now on. */
import type { Client } from './client.js';
import type { Core } from './core.js';
import { decodeDisconnect } from './packets.js';
import { PROTOCOL_ERROR } from './properties.js';

/** False: the client was failed, because such a DISCONNECT is none; its will is published. */
export function receiveDisconnect(
  core: Core,
  client: Client,
  bytes: Uint8Array,
  body: number,
  end: number,
): boolean {
  const { session } = client;
  const request = decodeDisconnect(bytes, body, end, client.version);
  if (typeof request === 'number') {
    client.fail(request, 'DISCONNECT is not right');
    return false;
  }
  if (session === null) return true;
  if (request.sessionExpiryS >= 0) {
    // [MQTT-3.14.2-2]
    if (session.expiryS === 0 && request.sessionExpiryS > 0) {
      client.fail(PROTOCOL_ERROR, 'Session Expiry Interval cannot be raised from 0');
      return false;
    }
    session.expiryS = Math.min(request.sessionExpiryS, core.limits.maxSessionExpiryS, 0xffffffff);
  }
  if (request.reason === 0) session.will = null;
  return true;
}
