/** The init script for OpenWrt, with procd's functions played. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageFolder } from '../../src/entry.js';

test('reload signals the gateway whatever has changed, its users and certificates as well', () => {
  const script = join(packageFolder(), 'packaging/openwrt/holdfast.init');
  const procd = 'procd_send_signal() { echo "$@"; }';
  const said = execFileSync('dash', ['-c', `${procd}; . "$1"; reload_service`, 'dash', script]);
  // Without another one it is SIGHUP.
  assert.equal(said.toString(), 'holdfast\n');
});
