/** What to do about a far side that cannot be reached, beside what OpenSSL, the system or the far side say of it. */
import { messageOf } from '../errors.js';

const AUTHORITY =
  'no authority that is trusted here has signed its certificate; name the right one as tls.ca';
const CLIENT_CERTIFICATE = 'it wants a client certificate; give tls.cert and tls.key';
const OUR_CERTIFICATE =
  'it does not take our client certificate; look at tls.cert and its dates, and at the authority over there';
const LOGIN = 'look at user, password and client_id';

/** Of a DISCONNECT. */
const SESSION_TAKEN_OVER = 0x8e;
const MESSAGE_RATE_TOO_HIGH = 0x96;
const QUOTA_EXCEEDED = 0x97;

/** Reason codes of a DISCONNECT after which the next connection at once would end in the same way. */
export const SENT_AWAY: ReadonlySet<number> = new Set([
  SESSION_TAKEN_OVER,
  MESSAGE_RATE_TOO_HIGH,
  QUOTA_EXCEEDED,
]);

/** Those of them that say that it was sent too much. */
export const SENT_TOO_MUCH: ReadonlySet<number> = new Set([MESSAGE_RATE_TOO_HIGH, QUOTA_EXCEEDED]);

/** By the code of the error: a name from OpenSSL or the system, or a reason code of the CONNACK. */
const ADVICE: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED:
    "its certificate has expired; have it renewed over there, and see that this gateway's clock is right",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; see that this gateway's clock is right",
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for another name; write that name in nodes, or as tls.server_name',
  DEPTH_ZERO_SELF_SIGNED_CERT: AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: AUTHORITY,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: CLIENT_CERTIFICATE,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: CLIENT_CERTIFICATE,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: OUR_CERTIFICATE,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: OUR_CERTIFICATE,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: OUR_CERTIFICATE,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: OUR_CERTIFICATE,
  ERR_SSL_WRONG_VERSION_NUMBER: 'nothing speaks TLS on that port; write mqtt:// or ws://, or another port',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'nothing speaks TLS on that port; write mqtt:// or ws://, or another port',
  ECONNRESET:
    'it ended the connection; see that the scheme in nodes fits the port, and whether it wants tls.cert and tls.key',
  ECONNREFUSED: 'nobody listens there; look at nodes, and whether the broker runs',
  ETIMEDOUT: 'nothing answers there; look at nodes, and at the network between',
  ENOTFOUND: 'the name is not known; look at nodes, and at the name servers of this machine',
  EAI_AGAIN: 'no name server answers; look at the network of this machine',
  EHOSTUNREACH: 'there is no way to it; look at the network of this machine',
  ENETUNREACH: 'there is no way to it; look at the network of this machine',
  [0x01]: 'it does not speak this version of MQTT; write version: 3.1.1',
  [0x84]: 'it does not speak this version of MQTT; write version: 3.1.1',
  [0x02]: LOGIN,
  [0x04]: LOGIN,
  [0x05]: LOGIN,
  [0x85]: LOGIN,
  [0x86]: LOGIN,
  [0x87]: LOGIN,
  [MESSAGE_RATE_TOO_HIGH]:
    'it takes fewer messages a second; raise deadband or rate here, batch what belongs together, or have the limit raised over there',
  [QUOTA_EXCEEDED]: 'a quota over there is exceeded; send less, or have it raised',
  [SESSION_TAKEN_OVER]: 'another client has come with our client_id; give each gateway one of its own',
};

/** Why a connection could not be made, and what to do about it. */
export function withAdvice(thrown: unknown): string {
  return advised(messageOf(thrown), codeOf(thrown));
}

/** Why something ended with this code, and what to do about it. */
export function advised(why: string, code: string | number): string {
  const advice = ADVICE[code];
  return advice === undefined ? why : `${why}: ${advice}`;
}

/** Of the error itself, or of the one that caused it; empty: none. */
function codeOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return '';
  if ('code' in thrown) return String(thrown.code);
  return codeOf(thrown.cause);
}
