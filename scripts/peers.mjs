/**
 * The independent programs that tests talk to, as Debian packages. Installed when this runs as root or with a sudo
 * that asks nothing; otherwise named in one error. No test is skipped for want of a peer.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fail } from './prepare.mjs';

/** Package, and what shows that it is there: a file, or a command that succeeds. */
const PEERS = [
  ['mosquitto', '/usr/sbin/mosquitto'],
  ['mosquitto-clients', '/usr/bin/mosquitto_sub'],
  ['nats-server', '/usr/sbin/nats-server'],
  ['mbpoll', '/usr/bin/mbpoll'],
  ['socat', '/usr/bin/socat'],
  ['chromium', '/usr/bin/chromium'],
  ['tshark', '/usr/bin/tshark'],
  ['zsh', '/usr/bin/zsh'],
  ['fish', '/usr/bin/fish'],
  ['gcc', '/usr/bin/gcc'],
  ['libc6-dev', '/usr/include/stdlib.h'],
  ['libmodbus-dev', '/usr/include/modbus/modbus.h'],
  ['openssl', '/usr/bin/openssl'],
  ['iproute2', '/usr/sbin/ip'],
  ['faketime', '/usr/bin/faketime'],
  ['systemd', '/usr/bin/systemd-notify'],
  ['python3', '/usr/bin/python3'],
  ['python3-pymodbus', ['/usr/bin/python3', '-c', 'import pymodbus']],
  ['python3-serial', ['/usr/bin/python3', '-c', 'import serial']],
  ['python3-serial-asyncio', ['/usr/bin/python3', '-c', 'import serial_asyncio']],
  ['python3-paho-mqtt', ['/usr/bin/python3', '-c', 'import paho.mqtt.client']],
];

/** For the long forms only: it brings Erlang with it. */
const LONG_PEERS = [['rabbitmq-server', '/usr/sbin/rabbitmq-server']];

const isThere = ([, proof]) =>
  Array.isArray(proof) ? spawnSync(proof[0], proof.slice(1)).status === 0 : existsSync(proof);

export function installPeers(isLong) {
  const wanted = isLong ? [...PEERS, ...LONG_PEERS] : PEERS;
  const missing = wanted.filter((peer) => !isThere(peer)).map(([name]) => name);
  if (missing.length === 0) return;
  const line = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  if (sudo.length > 0 && spawnSync('sudo', ['-n', 'true']).status !== 0) {
    fail(`the tests talk to real peers that are not installed; install them with\n\n  sudo ${line}\n`);
  }
  process.stderr.write(`installing the tests' peers: ${missing.join(' ')} ...\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (args) =>
    spawnSync(sudo[0] ?? 'apt-get', [...sudo.slice(1), ...(sudo.length ? ['apt-get'] : []), ...args], {
      env,
      encoding: 'utf8',
    });
  apt(['update', '-q']);
  // Somebody else may be installing at this moment.
  const done = apt(['-o', 'DPkg::Lock::Timeout=300', ...line.split(' ').slice(1)]);
  const still = wanted.filter((peer) => !isThere(peer)).map(([name]) => name);
  if (still.length > 0)
    fail(
      `could not install ${still.join(' ')} with\n\n  ${line}\n\n${done.stdout ?? ''}${done.stderr ?? ''}`,
    );
}
