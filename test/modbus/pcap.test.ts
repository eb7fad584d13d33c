/** The capture file, read by Wireshark's own dissectors. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FrameJoiner, type Framing, type TracedFrame } from '../../src/modbus/frames.js';
import { asciiFrame, rtuFrame, tcpFrame } from '../../src/modbus/framing.js';
import { PcapWriter } from '../../src/modbus/pcap.js';
import { dissected } from '../support/wireshark.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-pcap-'));
after(() => rmSync(folder, { recursive: true }));

const REQUEST = Uint8Array.of(3, 0, 100, 0, 2);
const ANSWER = Uint8Array.of(3, 4, 0x01, 0x02, 0x03, 0x04);
const EXCEPTION = Uint8Array.of(0x83, 2);

function captured(framing: Framing, frames: readonly TracedFrame[]): Record<string, string>[] {
  const pieces: Uint8Array[] = [];
  const writer = new PcapWriter(framing, (bytes) => pieces.push(bytes));
  for (const frame of frames) writer.add(frame);
  const file = join(folder, `${framing}.pcap`);
  writeFileSync(file, Buffer.concat(pieces));
  return dissected(file);
}

const mbap = (transactionId: number, pdu: Uint8Array): Uint8Array =>
  tcpFrame({ transactionId, protocolId: 0, unitId: 7, pdu });
const FRAMERS: Record<Framing, (transactionId: number, pdu: Uint8Array) => Uint8Array> = {
  mbap,
  rtu: (_transactionId, pdu) => rtuFrame(7, pdu),
  ascii: (_transactionId, pdu) => asciiFrame(7, pdu),
};

for (const framing of ['mbap', 'rtu', 'ascii'] as const) {
  test(`frames of ${framing} are requests and answers of Modbus/TCP to Wireshark, without an option`, () => {
    const frame = FRAMERS[framing];
    const packets = captured(framing, [
      { direction: 'sent', bytes: frame(1, REQUEST), timeMs: 1_795_000_000_000.25 },
      { direction: 'received', bytes: frame(1, ANSWER), timeMs: 1_795_000_000_012.5 },
      { direction: 'sent', bytes: frame(2, REQUEST), timeMs: 1_795_000_001_000 },
      { direction: 'received', bytes: frame(2, EXCEPTION), timeMs: 1_795_000_001_010 },
    ]);
    assert.equal(packets.length, 4);
    for (const packet of packets) {
      assert.equal(packet['frame.protocols'], 'raw:ip:tcp:mbtcp:modbus');
      assert.equal(packet['mbtcp.unit_id'], '7');
      assert.deepEqual([packet['ip.checksum.status'], packet['tcp.checksum.status']], ['1', '1']);
      assert.equal(packet['tcp.analysis.lost_segment'], '');
    }
    const [asked, told, again, refused] = packets;
    assert.equal(asked?.['frame.time_epoch'], '1795000000.000250000');
    assert.deepEqual([asked?.['modbus.reference_num'], asked?.['modbus.word_cnt']], ['100', '2']);
    assert.deepEqual([told?.['modbus.regval_uint16'], told?.['modbus.request_frame']], ['258,772', '1']);
    assert.equal(told?.['mbtcp.trans_id'], asked?.['mbtcp.trans_id']);
    assert.notEqual(again?.['mbtcp.trans_id'], asked?.['mbtcp.trans_id']);
    assert.equal(refused?.['modbus.exception_code'], '2');
  });
}

test('a broken frame keeps its bytes and its place', () => {
  const broken = rtuFrame(7, ANSWER);
  broken[4] = 0xff;
  const packets = captured('rtu', [
    { direction: 'sent', bytes: rtuFrame(7, REQUEST), timeMs: 1000 },
    { direction: 'received', bytes: broken, timeMs: 1010 },
    { direction: 'sent', bytes: rtuFrame(7, REQUEST), timeMs: 2000 },
    { direction: 'received', bytes: rtuFrame(7, ANSWER), timeMs: 2010 },
  ]);
  const [, damaged, , good] = packets;
  assert.match(damaged?.['frame.protocols'] ?? '', /^raw:ip:udp:/);
  assert.equal(damaged?.['udp.checksum.status'], '1');
  assert.equal(damaged?.['data.data'], Buffer.from(broken).toString('hex'));
  assert.equal(good?.['modbus.request_frame'], '3');
  assert.equal(good?.['tcp.analysis.lost_segment'], '');
});

test('an answer that comes in pieces is one frame, and one from before the first request none', () => {
  const joiner = new FrameJoiner('rtu');
  const answer = rtuFrame(7, ANSWER);
  const piece = (from: number, to: number): TracedFrame[] =>
    joiner.push({ direction: 'received', bytes: answer.slice(from, to), timeMs: to });
  assert.deepEqual(piece(0, 9), []);
  assert.equal(joiner.push({ direction: 'sent', bytes: rtuFrame(7, REQUEST), timeMs: 0 }).length, 1);
  assert.deepEqual([piece(0, 3), piece(3, 5)], [[], []]);
  assert.deepEqual(piece(5, 9), [{ direction: 'received', bytes: answer, timeMs: 9 }]);
  // What never became whole is told before the next request.
  piece(0, 4);
  const [rest, next] = joiner.push({ direction: 'sent', bytes: rtuFrame(7, REQUEST), timeMs: 20 });
  assert.deepEqual([rest?.bytes.length, next?.direction], [4, 'sent']);
});
