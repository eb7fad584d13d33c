/** The two checksums of serial lines: CRC-16 of RTU frames (low byte first on the wire) and LRC of ASCII frames. */

const CRC_TABLE = new Uint16Array(256);
for (let index = 0; index < 256; index += 1) {
  let crc = index;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  CRC_TABLE[index] = crc;
}

export function crc16(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let crc = 0xffff;
  for (let at = start; at < end; at += 1) {
    // Both indexes are within their arrays by construction.
    crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return crc;
}

export function lrc(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let sum = 0;
  for (let at = start; at < end; at += 1) sum += bytes[at] as number;
  return -sum & 0xff;
}
