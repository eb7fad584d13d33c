/**
 * A register list as people have it -> its rows by column: the header in English or Chinese, as Kepware, Neuron,
 * Ignition and makers write it; comma, semicolon or tab; UTF-8, UTF-16 or GBK. The only importer of csv-parse.
 */
import { parse } from 'csv-parse/sync';
import { UsageError } from './verb.js';

/** What a column can be. */
export type ColumnName =
  | 'name' | 'group' | 'address' | 'hex_address' | 'table' | 'unit_id' | 'type' | 'order' | 'bit' | 'count' | 'byte_count'
  | 'access' | 'writable' | 'rate' | 'scale' | 'gain' | 'divisor' | 'decimal' | 'decimals' | 'resolution' | 'offset' | 'raw_low' | 'raw_high' | 'scaled_low' | 'scaled_high' | 'scaling' | 'negate' | 'unit' | 'description' | 'settings' | 'ignored'; // prettier-ignore

/** One line of the list. */
export type ListRow = ReadonlyMap<ColumnName, string>;

export interface RegisterList {
  readonly rows: readonly { readonly line: number; readonly cells: ListRow }[];
  /** Who writes lists with such a header, as far as it shows. */
  readonly origin: 'holdfast' | 'Kepware' | 'Neuron' | 'Ignition' | 'other';
  readonly encoding: string;
  /** Headers that nothing is made of. */
  readonly ignored: readonly string[];
  /** Lines between the rows that are none. */
  readonly headings: number;
}

/** Without case, spaces, underscores and what stands in brackets. */
const ALIASES: Readonly<Record<ColumnName, readonly string[]>> = {
  name: ['name', 'tagname', 'tag', 'varname', 'variable', 'signal', 'parameter', 'symbol', 'variablename', 'signalname', 'parametername', 'pointname', 'registername', 'datapoint', 'item', '点位', '点位名称', '名称', '字段', '变量名', '变量名称', '标签', '点名', '参数', '参数名称', '标识符', '信号名称', '测点名称', '寄存器名称'],
  group: ['group', 'groupname', 'device', 'devicename', 'node', 'folder', 'path', '设备', '设备名称', '分组', '组', '组名'],
  address: ['address', 'addr', 'register', 'registeraddress', 'modbusaddress', 'offsetaddress', 'reference', 'registerno', 'registernumber', 'regno', 'reg', 'regaddress', 'startaddress', 'startregister', 'startreg', 'modbusregister', 'decaddress', '寄存器地址', '地址', '寄存器', '点位地址', '起始地址', '偏移地址', 'modbus地址'],
  hex_address: ['hexaddress', 'addresshex', 'registerhex', 'hex'],
  table: ['table', 'area', 'registertype', 'function', 'functioncode', 'fc', 'objecttype', '寄存器类型', '功能码', '区域', '寄存器区'],
  unit_id: ['unitid', 'slave', 'slaveid', 'station', 'deviceid', '从站', '从机地址', '站号', '从站地址'],
  type: ['type', 'datatype', 'format', 'dataformat', '数据类型', '类型', '解析方式', '数据格式'],
  order: ['order', 'wordorder', 'byteorder', 'endian', 'endianness', '字节序', '字节顺序', '大小端'],
  bit: ['bit', 'bits', 'bitnumber', 'bitoffset', '位', '位偏移'],
  count: ['count', 'length', 'quantity', 'size', 'registers', 'numberofregisters', 'registercount', 'regcount', '长度', '数量', '寄存器数量', '寄存器个数'],
  byte_count: ['bytes', 'bytecount', 'numberofbytes', '字节数'],
  access: ['access', 'clientaccess', 'attribute', 'accessrights', 'rw', 'readwrite', 'mode', '读写', '读写属性', '读写权限', '权限', '属性'],
  writable: ['writable', 'writeable', '可写'],
  rate: ['rate', 'scanrate', 'interval', 'scanclass', 'pollinterval', 'period', '采集周期', '周期', '采集间隔', '轮询间隔'],
  scale: ['scale', 'factor', 'multiplier', 'ratio', 'coefficient', '倍率', '系数', '缩放', '缩放系数', '比例', '乘系数'],
  gain: ['gain', 'scalefactor', '增益'],
  divisor: ['divisor', 'divider', '除数'],
  decimal: ['decimal'],
  decimals: ['decimals', 'decimalplaces', 'decimaldigits', '小数位', '小数位数'],
  resolution: ['resolution', 'res', 'precision', '分辨率', '精度'],
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
  ignored: ['respectdatatype', 'scaleddatatype', 'clamplow', 'clamphigh', 'value', 'default', '序号', 'no', 'id', 'index'],
}; // prettier-ignore

const NAME_OF = new Map(
  Object.entries(ALIASES).flatMap(([name, aliases]) =>
    aliases.map((alias) => [alias, name as ColumnName] as const),
  ),
);

const DELIMITERS = [',', ';', '\t'] as const;
/** Lines among which the names of the columns are looked for. */
const HEADER_WITHIN = 20;
const ENCODINGS = ['utf-8', 'utf-16le', 'gbk', 'windows-1252'];

export function readList(bytes: Uint8Array, file: string, encoding: string | undefined): RegisterList {
  if (Buffer.from(bytes.subarray(0, 2)).toString('latin1') === 'PK')
    throw new UsageError(`${file} is a workbook (XLSX); save it as CSV UTF-8 and import that`);
  const { text, name } = decode(bytes, file, encoding);
  const tables = delimitersOf(text).map((delimiter) => headedTable(text, delimiter, file));
  const { header, body } = tables.find((table) => table.isHeaded) ?? refuseUnheaded(tables[0], text, file);
  const origin = originOf(header.map(plain));
  const columns = header.map((cell) => columnOf(cell, origin));
  const rows = body.filter(({ cells }) => !isHeading(cells, columns) && cells.join('\0') !== header.join('\0'));
  return {
    rows: rows.map(({ line, cells }) => ({ line, cells: rowOf(cells, columns) })),
    origin,
    encoding: name,
    ignored: header.filter((cell, at) => columns[at] === null && cell !== ''),
    headings: body.length - rows.length,
  };
} // prettier-ignore

interface Line {
  readonly line: number;
  readonly cells: readonly string[];
}

interface HeadedTable {
  readonly header: readonly string[];
  readonly body: readonly Line[];
  readonly isHeaded: boolean;
}

/** The likeliest first, by what stands in the first lines. */
function delimitersOf(text: string): readonly string[] {
  const first = text.split(/\r?\n/, HEADER_WITHIN).join('\n');
  return DELIMITERS.toSorted((a, b) => count(first, b) - count(first, a));
}

/** A title and a version may stand above the names of the columns. */
function headedTable(text: string, delimiter: string, file: string): HeadedTable {
  const table = parseTable(text, delimiter, file);
  const at = table.slice(0, HEADER_WITHIN).findIndex(({ cells }) => isHeader(cells));
  return { header: table[Math.max(at, 0)]?.cells ?? [], body: table.slice(at + 1), isHeaded: at >= 0 };
} // prettier-ignore

function isHeader(cells: readonly string[]): boolean {
  const columns = cells.map((cell) => columnOf(cell, 'other'));
  const has = (name: ColumnName): boolean => columns.includes(name);
  return (has('name') || has('description')) && (has('address') || has('hex_address'));
}

function refuseUnheaded(table: HeadedTable | undefined, text: string, file: string): never {
  const header = table?.header ?? [];
  if (header.length === 0) throw new UsageError(`${file} is empty; its first line names the columns`);
  if (header.length === 1 || /^\s*[[{<]/.test(text))
    throw new UsageError(`${file} is no list of columns; import reads CSV and mosquitto.conf, what other gateways are configured with is written anew: docs/configuration.md`);
  const columns = header.map((cell) => columnOf(cell, 'other'));
  const missing = columns.includes('address') || columns.includes('hex_address') ? 'name' : 'address';
  throw new UsageError(`${file}:1 has no column for the ${missing} among ${header.filter((cell) => cell !== '').join(', ')}; call one "${missing}"`);
} // prettier-ignore

/** A line between the rows that only says what comes next. */
function isHeading(cells: readonly string[], columns: readonly (ColumnName | null)[]): boolean {
  const [only, ...more] = cells.flatMap((cell, at) => (cell.trim() === '' ? [] : [{ cell, column: columns[at] }]));
  if (only === undefined || more.length > 0) return false;
  return !/^(hex_)?address$/.test(only.column ?? '') || !/\d/.test(only.cell);
} // prettier-ignore

/** Of several columns for one thing the first that says something counts; without a name the description is one. */
function rowOf(cells: readonly string[], columns: readonly (ColumnName | null)[]): ListRow {
  const row = new Map<ColumnName, string>();
  columns.forEach((column, at) => {
    if (column !== null) row.set(column, row.get(column) || (cells[at] ?? '').trim());
  });
  if (!columns.includes('name')) row.set('name', row.get('description') ?? '');
  return row;
}

function columnOf(header: string, origin: RegisterList['origin']): ColumnName | null {
  const word = plain(header);
  // Neuron calls the factor so.
  if (word === 'decimal' && origin === 'Neuron') return 'scale';
  const column = NAME_OF.get(word) ?? NAME_OF.get(word.replace(/hex|dec$|^dec|十六进制|16进制|十进制|10进制/g, '')) ?? null;
  if (column === 'address' && /hex|十六进制|16进制/i.test(header)) return 'hex_address';
  return column === 'count' && /byte|字节/i.test(header) ? 'byte_count' : column;
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
      delimiter, info: true, relax_column_count: true, relax_quotes: true, skip_empty_lines: true, bom: true,
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
