/** PUBACK, PUBREC, PUBREL and PUBCOMP from a client. */
import type { Client } from './client.js';
import { PUBREL } from './codec.js';
import type { Core } from './core.js';
import { decodeAcknowledgement } from './packets.js';
import type { Publishing } from './publish.js';

/** False: the client was failed. */
export function receiveAcknowledgement(
  core: Core,
  publishing: Publishing,
  client: Client,
  bytes: Uint8Array,
  type: number,
  body: number,
  end: number,
): boolean {
  const { session } = client;
  if (session === null) return false;
  const { packetIdentifier, reason, refused } = decodeAcknowledgement(bytes, type, body, end, client.version);
  if (refused !== 0) {
    client.fail(refused, 'acknowledgement is malformed');
    return false;
  }
  switch (type) {
    case 4:
      session.acknowledged(packetIdentifier);
      break;
    case 5: {
      const release = session.received(packetIdentifier, reason);
      // PUBREL follows once PUBREC is kept: after a restart the message must not be sent again.
      if (release >= 0)
        client.acknowledge(PUBREL, packetIdentifier, release, session.isKept && release === 0);
      break;
    }
    case 6:
      publishing.release(client, packetIdentifier);
      break;
    default:
      session.completed(packetIdentifier);
  }
  // What was acknowledged is a fact for the store, though nobody waits for it.
  if (session.isKept) core.turns.schedule();
  return true;
}
