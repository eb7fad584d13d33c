/**
 * A register list as people have it -> its rows by column: the header in English or Chinese, as Kepware, Neuron,
 * Ignition and makers write it; comma, semicolon or tab; UTF-8, UTF-16 or GBK. The only importer of csv-parse.
 */
import { parse } from 'csv-parse/sync';
import { UsageError } from './verb.js';

/** What a column can be. */
export type ColumnName =
  | 'name' | 'group' | 'address' | 'table' | 'unit_id' | 'type' | 'order' | 'bit' | 'count' | 'access' | 'rate' | 'scale'
  | 'offset' | 'raw_low' | 'raw_high' | 'scaled_low' | 'scaled_high' | 'scaling' | 'negate' | 'unit' | 'description' | 'settings' | 'ignored'; // prettier-ignore

/** One line of the list. */
export type ListRow = ReadonlyMap<ColumnName, string>;

export interface RegisterList {
  readonly rows: readonly { readonly line: number; readonly cells: ListRow }[];
  /** Who writes lists with such a header, as far as it shows. */
  readonly origin: 'holdfast' | 'Kepware' | 'Neuron' | 'Ignition' | 'other';
  readonly encoding: string;
  /** Headers that nothing is made of. */
  readonly ignored: readonly string[];
}

/** Without case, spaces, underscores and what stands in brackets. */
const ALIASES: Readonly<Record<ColumnName, readonly string[]>> = {
  name: ['name', 'tagname', 'tag', 'varname', 'variable', 'signal', 'parameter', 'symbol', '点位', '点位名称', '名称', '字段', '变量名', '变量名称', '标签', '点名', '参数', '参数名称', '标识符'],
  group: ['group', 'groupname', 'device', 'devicename', 'node', 'folder', 'path', '设备', '设备名称', '分组', '组', '组名'],
  address: ['address', 'addr', 'register', 'registeraddress', 'modbusaddress', 'offsetaddress', 'reference', '寄存器地址', '地址', '寄存器', '点位地址', '起始地址', '偏移地址', 'modbus地址'],
  table: ['table', 'area', 'registertype', 'function', 'functioncode', 'fc', 'objecttype', '寄存器类型', '功能码', '区域', '寄存器区'],
  unit_id: ['unitid', 'slave', 'slaveid', 'station', 'deviceid', '从站', '从机地址', '站号', '从站地址'],
  type: ['type', 'datatype', 'format', 'dataformat', '数据类型', '类型', '解析方式', '数据格式'],
  order: ['order', 'wordorder', 'byteorder', 'endian', 'endianness', '字节序', '字节顺序', '大小端'],
  bit: ['bit', 'bits', 'bitnumber', 'bitoffset', '位', '位偏移'],
  count: ['count', 'length', 'quantity', 'size', 'registers', 'numberofregisters', '长度', '数量', '寄存器数量', '寄存器个数'],
  access: ['access', 'clientaccess', 'attribute', 'accessrights', 'rw', 'readwrite', 'mode', '读写', '读写属性', '读写权限', '权限', '属性'],
  rate: ['rate', 'scanrate', 'interval', 'scanclass', 'pollinterval', 'period', '采集周期', '周期', '采集间隔', '轮询间隔'],
  scale: ['scale', 'factor', 'multiplier', 'decimal', 'gain', 'ratio', 'coefficient', '倍率', '系数', '缩放', '缩放系数', '比例', '乘系数'],
  offset: ['offset', 'bias', '偏移', '偏移量', '偏置'],
  scaling: ['scaling', 'scalemode'],
  raw_low: ['rawlow', 'rawmin'],
  raw_high: ['rawhigh', 'rawmax'],
  scaled_low: ['scaledlow', 'scaledmin'],
  scaled_high: ['scaledhigh', 'scaledmax'],
  negate: ['negatevalue'],
  unit: ['unit', 'units', 'engunits', 'engunit', 'engineeringunits', 'uom', '单位'],
  description: ['description', 'desc', 'comment', 'documentation', 'remark', 'note', '描述', '说明', '备注', '注释'],
  settings: ['settings'],
  ignored: ['respectdatatype', 'scaleddatatype', 'clamplow', 'clamphigh', 'precision', '精度', 'value', 'default', '序号', 'no', 'id', 'index'],
}; // prettier-ignore

const NAME_OF = new Map(
  Object.entries(ALIASES).flatMap(([name, aliases]) =>
    aliases.map((alias) => [alias, name as ColumnName] as const),
  ),
);

const DELIMITERS = [',', ';', '\t'] as const;
const ENCODINGS = ['utf-8', 'utf-16le', 'gbk', 'windows-1252'];

export function readList(bytes: Uint8Array, file: string, encoding: string | undefined): RegisterList {
  if (Buffer.from(bytes.subarray(0, 2)).toString('latin1') === 'PK')
    throw new UsageError(`${file} is a workbook (XLSX); save it as CSV UTF-8 and import that`);
  const { text, name } = decode(bytes, file, encoding);
  const [first = ''] = text.split(/\r?\n/, 1);
  const delimiter = DELIMITERS.toSorted((a, b) => count(first, b) - count(first, a))[0] ?? ',';
  const table = parseTable(text, delimiter, file);
  const [header, ...body] = table;
  if (header === undefined) throw new UsageError(`${file} is empty; its first line names the columns`);
  const columns = header.cells.map((cell) => NAME_OF.get(plain(cell)) ?? null);
  for (const needed of ['name', 'address'] as const)
    if (!columns.includes(needed))
      throw new UsageError(`${file}:${header.line} has no column for the ${needed} among ${header.cells.join(', ')}; call one "${needed}"`);
  return {
    rows: body.map(({ line, cells }) => ({
      line,
      cells: new Map(columns.flatMap((column, at) => (column === null ? [] : [[column, (cells[at] ?? '').trim()] as const]))),
    })),
    origin: originOf(header.cells.map(plain)),
    encoding: name,
    ignored: header.cells.filter((cell, at) => columns[at] === null && cell !== ''),
  };
} // prettier-ignore

function originOf(headers: readonly string[]): RegisterList['origin'] {
  const has = (...names: string[]): boolean => names.every((name) => headers.includes(name));
  if (has('settings', 'access', 'address')) return 'holdfast';
  if (has('tagname', 'address', 'clientaccess')) return 'Kepware';
  if (has('name', 'address', 'attribute')) return 'Neuron';
  return has('scaleclass') || headers.some((name) => name === 'scanclass' || name === 'engunit')
    ? 'Ignition'
    : 'other';
}

function parseTable(text: string, delimiter: string, file: string): { line: number; cells: string[] }[] {
  try {
    // With `info` each record comes with its place, which the package's types do not tell.
    const records = parse(text, {
      delimiter, info: true, relax_column_count: true, skip_empty_lines: true, bom: true,
    }) as unknown as { info: { lines: number }; record: string[] }[]; // prettier-ignore
    return records
      .map(({ info, record }) => ({ line: info.lines, cells: record }))
      .filter(({ cells }) => cells.some((cell) => cell.trim() !== ''));
  } catch (thrown) {
    throw new UsageError(
      `${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}; save it again as CSV`,
    );
  }
}

function decode(bytes: Uint8Array, file: string, wanted: string | undefined): { text: string; name: string } {
  if (wanted !== undefined && !ENCODINGS.includes(wanted.toLowerCase()))
    throw new UsageError(`--encoding is one of ${ENCODINGS.join(', ')}`);
  const name = wanted?.toLowerCase() ?? encodingOf(bytes);
  try {
    return { text: new TextDecoder(name === 'gbk' ? 'gb18030' : name, { fatal: true }).decode(bytes), name };
  } catch {
    throw new UsageError(
      `${file} is not ${name}; name its encoding with --encoding (${ENCODINGS.join(', ')})`,
    );
  }
}

/** UTF-8 shows by itself. Chinese has its high bytes in pairs; a degree sign of Western Europe stands alone. */
function encodingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return 'utf-8';
  } catch {
    const runs =
      Buffer.from(bytes)
        .toString('latin1')
        .match(/[\x80-\xff]+/g) ?? [];
    return runs.some((run) => run.length > 1) ? 'gbk' : 'windows-1252';
  }
}

function plain(header: string): string {
  return header
    .replace(/[(（[].*$/, '')
    .replace(/[\s_./-]+/g, '')
    .toLowerCase();
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}
