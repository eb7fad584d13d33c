/**
 * TLS handshakes that came to nothing. Whoever tried learns of it by a connection that ends, if at all; why is known here
 * only, so the log says it, of each address once a minute.
 */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { Allowance } from './allowance.js';
import { plainAddress } from './door.js';

/** Connections that just end are those of port scans and of health checks. */
const ENDED = /^(ECONNRESET|EPIPE|ETIMEDOUT|ERR_TLS_HANDSHAKE_TIMEOUT)$/;
const NO_AUTHORITY = 'client_ca has not signed its certificate';
const NOT_TRUSTED =
  'it does not trust the certificate of this listener; give it the authority that has signed it';
const NO_TLS = 'it does not speak TLS; have it use TLS, or another port';

const ADVICE: Readonly<Record<string, string>> = {
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'it shows no certificate, which require_client_cert asks for',
  DEPTH_ZERO_SELF_SIGNED_CERT: NO_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: NO_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NO_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: NO_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NO_AUTHORITY,
  CERT_HAS_EXPIRED: "its certificate has expired; renew it, and see that this machine's clock is right",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; see that this machine's clock is right",
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: NOT_TRUSTED,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: NOT_TRUSTED,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: NOT_TRUSTED,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    'the certificate of this listener has expired for it; renew it, and look at its clock',
  ERR_SSL_WRONG_VERSION_NUMBER: NO_TLS,
  ERR_SSL_HTTP_REQUEST: NO_TLS,
};

export class Handshakes {
  readonly #log: Log;
  readonly #told: Allowance;

  constructor(clock: Clock, log: Log) {
    this.#log = log;
    this.#told = new Allowance(clock, { each: 1, inAll: 100 });
  }

  failed(listener: string, error: Error, socket: TLSSocket): void {
    const address = plainAddress(socket.remoteAddress ?? '');
    const [code, reason] = causeOf(error, socket);
    // Of a socket that is gone already it is not known.
    const who = { listener, ...(address === '' ? {} : { address }) };
    if (ENDED.test(code) || !this.#told.takes(address))
      return this.#log.debug('TLS handshake failed', { ...who, error: reason });
    const advice = ADVICE[code];
    this.#log.info('TLS handshake failed', {
      ...who,
      error: advice === undefined ? reason : `${reason}: ${advice}`,
    });
  }

  stop(): void {
    this.#told.stop();
  }
}

/** Code and words. Of a certificate that does not count, Node says only that the connection ended, and why at the socket. */
function causeOf(error: Error, { authorizationError }: TLSSocket): [string, string] {
  // A code, whatever its type says.
  const refused: unknown = authorizationError;
  if (typeof refused === 'string') return [refused, refused];
  const code = 'code' in error ? String(error.code) : '';
  return [code, 'reason' in error ? String(error.reason) : error.message];
}
