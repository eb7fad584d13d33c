/** Read Device Identification (function 43, MEI type 14; Modbus 6.21) of a unit whose objects are given as texts. */
import { EXCEPTION, type ExceptionCode } from '../modbus/server.js';

const MEI_TYPE = 0x0e;
/** Objects 0 to 2 are basic, 3 to 6 regular, from 0x80 on extended. */
const REGULAR_MAX = 7;
const EXTENDED = 0x80;
/** Bytes of a PDU that objects may take: 253 less function, MEI type, code, level, more, next, count. */
const ROOM = 253 - 7;

/** data is the request after its function code; the answer's likewise. */
export function identification(texts: readonly string[], data: Uint8Array): Uint8Array | ExceptionCode {
  const [type = 0, code = 0, asked = 0] = data;
  if (type !== MEI_TYPE) return EXCEPTION.illegalFunction;
  if (data.length !== 3 || code < 1 || code > 4) return EXCEPTION.illegalDataValue;
  const objects = texts.map((text, index) => ({
    id: index < REGULAR_MAX ? index : EXTENDED + index - REGULAR_MAX,
    bytes: Buffer.from(text, 'latin1').subarray(0, ROOM - 2),
  }));
  const level = texts.length > REGULAR_MAX ? 0x83 : texts.length > 3 ? 0x82 : 0x81;
  if (code === 4) {
    const object = objects.find(({ id }) => id === asked);
    if (object === undefined) return EXCEPTION.illegalDataAddress;
    return Uint8Array.of(MEI_TYPE, code, level, 0, 0, 1, object.id, object.bytes.length, ...object.bytes);
  }
  const idMax = code === 1 ? 2 : code === 2 ? 6 : 0xff;
  const stream = objects.filter(({ id }) => id <= idMax);
  // An object that is not there means: from the beginning (6.21).
  const start = Math.max(
    0,
    stream.findIndex(({ id }) => id === asked),
  );
  const parts: number[] = [];
  let at = start;
  for (; at < stream.length; at++) {
    const object = stream[at];
    if (object === undefined || parts.length + 2 + object.bytes.length > ROOM) break;
    parts.push(object.id, object.bytes.length, ...object.bytes);
  }
  const next = stream[at];
  return Uint8Array.of(
    MEI_TYPE,
    code,
    level,
    next === undefined ? 0 : 0xff,
    next?.id ?? 0,
    at - start,
    ...parts,
  );
}
