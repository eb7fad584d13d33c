/** import and export: lists as others write them, and that what is exported comes back the same. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadPlantOfMap } from '../../src/config/loadplant.js';
import type { Tag } from '../../src/config/plant.js';
import { packageFolder } from '../../src/entry.js';
import { csvOf } from '../../src/cli/export.js';
import { holdfast } from '../support/holdfast.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-lists-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

async function imported(list: string | Uint8Array, ...more: string[]): Promise<Record<string, Tag>> {
  const file = join(folder, `list-${(count += 1)}.csv`);
  writeFileSync(file, list);
  const { code, stderr } = await holdfast(['import', file, '-o', `${file}.yaml`, ...more]);
  assert.equal(code, 0, stderr);
  return tagsOf(`${file}.yaml`);
}

async function refusal(list: string, ...more: string[]): Promise<string> {
  const file = join(folder, `list-${(count += 1)}.csv`);
  writeFileSync(file, list);
  const { code, stderr, stdout } = await holdfast(['import', file, ...more]);
  assert.equal(code, 3, stderr);
  assert.equal(stdout, '');
  return stderr;
}

function tagsOf(file: string): Record<string, Tag> {
  const { device, problems } = loadPlantOfMap(file, {});
  assert.deepEqual(problems.filter(({ severity }) => severity === 'error'), []); // prettier-ignore
  return Object.fromEntries((device?.tags ?? []).map((tag) => [tag.name, tag]));
}

const place = ({ table, address, type, order }: Tag): string => `${table} ${address} ${type} ${order}`;

test('Kepware: references, bits, texts and linear scaling; the word order has to be said', async () => {
  const list = `Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate,Scaling,Raw Low,Raw High,Scaled Low,Scaled High,Scaled Data Type,Clamp Low,Clamp High,Eng Units,Description,Negate Value
"Temp",400001,Short,1,RO,1000,Linear,0,1000,0,100,Double,0,0,"°C","Oil, hot",0
"Power",400011,Float,1,R/W,500,,,,,,,,,kW,,
"Alarm",400021.3,Boolean,1,RO,1000,,,,,,,,,,,
"Pump",000004,Boolean,1,R/W,1000,,,,,,,,,,,
`;
  assert.match(await refusal(list), /Power is longer than a register.*--order/s);
  const tags = await imported(list, '--order', 'CDAB');
  assert.deepEqual(Object.values(tags).map(place), [
    'holding-register 0 int16 ABCD',
    'holding-register 10 float32 CDAB',
    'holding-register 20 bool ABCD',
    'coil 3 bool ABCD',
  ]);
  assert.equal(tags['Temp']?.scale, 0.1);
  assert.equal(tags['Temp']?.description, 'Oil, hot');
  assert.deepEqual(tags['Alarm']?.bits, { first: 3, last: 3 });
  assert.deepEqual(
    [tags['Temp']?.write, tags['Power']?.write !== null, tags['Power']?.intervalMs],
    [null, true, 500],
  );
});

test('Kepware: what is negated is negated', async () => {
  const list = `Tag Name,Address,Data Type,Client Access,Scaling,Raw Low,Raw High,Scaled Low,Scaled High,Negate Value
"Flow",400001,Short,RO,Linear,4000,20000,-50,150,1
`;
  const { Flow } = await imported(list);
  assert.deepEqual([Flow?.scale, Flow?.offset], [-0.0125, 100]);
});

test('a list counts in one way: beside plain numbers nothing is taken for a reference', async () => {
  const list = `Address,Name,Type,Table
32080,power,INT32,holding
47086,mode,UINT16,holding
`;
  const tags = await imported(list, '--base', '0', '--order', 'ABCD');
  assert.deepEqual(
    Object.values(tags).map(({ address }) => address),
    [32_080, 47_086],
  );
});

test('what would give another register, another bit or half a value is asked for', async () => {
  const list = `Address,Name,Type
0x2006,hex,float
40001-40002,half,INT
40011/3,slash,bool
40013,byte,int8
`;
  const said = await refusal(list, '--order', 'ABCD');
  for (const problem of [
    /:2 {2}hex address 0x2006 says no table/,
    /:3 {2}half its address has 2 registers, int16 takes 1/,
    /:4 {2}slash \/3 behind the address is not understood/,
    /:5 {2}byte type "int8" is not known/,
  ])
    assert.match(said, problem);
});

test('an offset that is the address once more is not added to values', async () => {
  const list = (offsets: readonly number[]): string =>
    `Register,Offset,Name,Type\n${offsets.map((offset, at) => `${[30001, 30003, 40010][at]},${offset},v${at},uint16`).join('\n')}\n`;
  assert.match(await refusal(list([0, 2, 9])), /counts on as the addresses do; remove it/);
  assert.equal((await imported(list([0, -40, -40])))['v1']?.offset, -40);
});

test('letters lose their accents in names, and nothing else', async () => {
  assert.deepEqual(Object.keys(await imported('Address,Name,Type\n40001,Zähler Tür,uint16\n')), [
    'Zahler_Tur',
  ]);
});

test('Neuron: stations, byte orders as its manual has them, bits and texts', async () => {
  const list = `group,name,address,attribute,type,description,decimal,precision,bias
g,a,1!400001,Read,INT16,,0.1,0,0
g,b,1!400002#BL,Read Write,FLOAT,,,,
g,c,1!300004.2,Read,BIT,,,,
g,d,1!400010.20H,Read,STRING,,,,
g,e,1!400030,Read,UINT32,,,,5
`;
  const tags = await imported(list);
  assert.deepEqual(Object.values(tags).map(place), [
    'holding-register 0 int16 ABCD',
    'holding-register 1 float32 CDAB',
    'input-register 3 bool ABCD',
    'holding-register 9 string ABCD',
    'holding-register 29 uint32 ABCD',
  ]);
  assert.deepEqual([tags['a']?.scale, tags['d']?.quantity, tags['e']?.offset], [0.1, 10, 5]);
  const two = await refusal(list.replace('1!400030', '2!400030'));
  assert.match(two, /units 1, 2.*--unit/s);
  assert.deepEqual(Object.keys(await imported(list.replace('1!400030', '2!400030'), '--unit', '2')), ['e']);
});

test('Ignition: its letters name the type, and the base has to be said', async () => {
  const list = 'Name\tAddress\tEngUnit\nlevel\t1.HRF100\t%\nspeed\tIRUI5\trpm\nbit\tHR7.3\t\non\tC1\t\n';
  assert.match(await refusal(list), /HRF100 may be register 100 \(counted from 0\) or 99 \(counted from 1\)/);
  const tags = await imported(list, '--base', '1', '--order', 'ABCD');
  assert.deepEqual(Object.values(tags).map(place), [
    'holding-register 99 float32 ABCD',
    'input-register 4 uint32 ABCD',
    'holding-register 6 bool ABCD',
    'coil 0 bool ABCD',
  ]);
});

test('a Chinese list in GBK with semicolons: ranges, type and order in one cell, decimal commas', async () => {
  // 名称;寄存器地址;解析方式;倍率;单位;读写 and two rows, as GBK.
  const head = 'c3fbb3c63bbcc4b4e6c6f7b5d8d6b73bbde2cef6b7bdcabd3bb1b6c2ca3bb5a5cebb3bb6c1d0b40d0a';
  const rows = 'voltageA;40001~40002;float32 CDAB;0,1;V;R\r\nrelay;40011;uint16;;;RW\r\n';
  const bytes = Buffer.concat([Buffer.from(head, 'hex'), Buffer.from(rows, 'latin1')]);
  const tags = await imported(bytes);
  assert.deepEqual(Object.values(tags).map(place), ['holding-register 0 float32 CDAB', 'holding-register 10 uint16 ABCD']);
  assert.deepEqual([tags['voltageA']?.scale, tags['voltageA']?.unit, tags['relay']?.write !== null], [0.1, 'V', true]);
}); // prettier-ignore

test('types are known by their Chinese names', async () => {
  const names = ['无符号16位', '长整型', '浮点数', '双精度浮点数', '双字'];
  const rows = names.map((type, at) => `v${at};${40001 + 10 * at};${type}`);
  const tags = await imported(
    Buffer.from(`名称;寄存器地址;数据类型\n${rows.join('\n')}\n`),
    '--order',
    'ABCD',
  );
  assert.deepEqual(Object.values(tags).map(({ type }) => type), ['uint16', 'int32', 'float32', 'float64', 'uint32']); // prettier-ignore
});

test('plain addresses are never read one way or the other without being told', async () => {
  const list = 'name,table,address,type\nx,holding,100,uint16\n';
  assert.match(
    await refusal(list),
    /100 may be register 100 \(counted from 0\) or 99 \(counted from 1\).*--base/s,
  );
  assert.equal((await imported(list, '--base', '0'))['x']?.address, 100);
  assert.equal((await imported(list, '--base', '1'))['x']?.address, 99);
  assert.match(await refusal('name,address,type\nx,100,uint16\n', '--base', '0'), /says no table/);
  assert.match(await refusal('name,address,type\nx,40001,florp\n'), /"florp" is not known/);
  assert.match(
    await refusal('name,address,type\nx,40001,int16\nx,40002,int16\n'),
    /x is the name of line 2 too/,
  );
  const workbook = join(folder, 'list.xlsx');
  writeFileSync(workbook, 'PK\x03\x04');
  assert.match((await holdfast(['import', workbook])).stderr, /save it as CSV UTF-8/);
});

test('a factor is taken in every form that makers write it in, and none is lost', async () => {
  const scales = async (list: string): Promise<(number | undefined)[]> =>
    Object.values(await imported(list)).map(({ scale }) => scale);
  const rows = (column: string, cells: string[]): string =>
    `Name;Address;Type;${column}\n${cells.map((cell, at) => `t${at};${40001 + at};INT16;${cell}`).join('\n')}\n`;
  const forms = ['x0.1', '/10', '1/10', '10^-1', '0,1', '*10', '÷100', '-', 'n/a', ''];
  assert.deepEqual(await scales(rows('Scale', forms)), [0.1, 0.1, 0.1, 0.1, 0.1, 10, 0.01, 1, 1, 1]);
  assert.deepEqual(await scales(rows('Scaling', ['0.1', '/10', 'None'])), [0.1, 0.1, 1]);
  assert.deepEqual(await scales(rows('Divisor', ['10', '1000'])), [0.1, 0.001]);
  assert.deepEqual(await scales(rows('Decimals', ['0', '2'])), [1, 0.01]);
  const steps = await imported('Name;Address;Type;Unit\na;40001;UINT16;0.1V\nb;40002;FLOAT;0.1V\n', '--order', 'ABCD');
  assert.deepEqual(Object.values(steps).map(({ scale, unit }) => [scale, unit]), [[0.1, 'V'], [1, '0.1V']]);
  const places = await imported('Name;Address;Type;Decimals;Resolution\na;40001;FLOAT;2;0.01\n', '--order', 'ABCD');
  assert.equal(places['a']?.scale, 1, 'a float is the value itself');
  assert.match(await refusal(rows('Gain', ['0.1', '10'])), /:3 {2}t1 gain 10 may multiply or divide.*"divisor"/);
  assert.match(await refusal(rows('Decimal', ['2'])), /:2 {2}t0 decimal 2 may be places or a factor.*"decimals"/);
  assert.match(await refusal(rows('Scaling', ['florp'])), /"florp" is no number/);
}); // prettier-ignore

test('a title, headings between the rows, several columns for one thing, and a description in place of a name', async () => {
  const list = `Register map of the FX-200,,,,,
Register,Address (hex),Description,Type,Notes,Comment
Measured values,,,,,
40001,0000,"Phase 1, volts",UINT16,,to neutral
40002,0001,5" pipe,UINT16,hot,
Register,Address (hex),Description,Type,Notes,Comment
40003,0002,Flow,UINT16,,
`;
  const tags = await imported(list);
  assert.deepEqual(Object.values(tags).map(({ name, address, description }) => [name, address, description]), [
    ['Phase_1_volts', 0, 'Phase 1, volts'], ['5_pipe', 1, '5" pipe'], ['Flow', 2, 'Flow'],
  ]);
  const { code, stderr } = await holdfast(['import', join(folder, `list-${count}.csv`)]);
  assert.equal(code, 0);
  assert.match(stderr, /left out: 2 lines with a heading only/);
  const json = join(folder, 'other.json');
  writeFileSync(json, '{ "device": { "channels": [{ "name": "Temp", "address": 1 }] } }');
  assert.match((await holdfast(['import', json])).stderr, /is no list of columns.*docs\/configuration\.md/);
}); // prettier-ignore

test('hexadecimal is known by its header or its H, and asked for where only its letters show it', async () => {
  const hex = await imported('Name,Start reg (Hex),FC,Type\na,1000,3,uint16\nb,5B00,03/06,uint16\n', '--base', '0');
  assert.deepEqual(Object.values(hex).map(({ address, write }) => [address, write !== null]), [[0x1000, false], [0x5b00, true]]);
  const codes = '01,'.repeat(40);
  assert.match(await refusal(`Name,FC,Address,Type\na,"${codes}x",1,uint16\n`), /says no table/, 'soon');
  const marked = await imported('Name,Address,Table,Type\na,0010H,holding,uint16\nb,10H,coil,bool\n', '--base', '0');
  assert.deepEqual(Object.values(marked).map(place), ['holding-register 16 uint16 ABCD', 'coil 16 bool ABCD']);
  assert.match(await refusal('Name,Address,Table,Type\na,5B00,holding,uint16\n', '--base', '0'), /"5B00" looks hexadecimal; write 0x5B00/);
}); // prettier-ignore

test('types and orders are known by what makers call them; what says no width takes the length that is given', async () => {
  const words = ['Unsigned 16 bit', '16-bit signed integer', 'INT32U', 'FLOAT32 (IEEE 754)', 'U_WORD', 'S_DWORD', 'uint16_t', 'Bitfield16', '4Q_FP_PF'];
  const rows = words.map((word, at) => `v${at};${40001 + 10 * at};${word};Big-endian\n`).join('');
  assert.deepEqual(Object.values(await imported(`Name;Register;Type;Byte order\n${rows}`)).map(({ type }) => type),
    ['uint16', 'int16', 'uint32', 'float32', 'uint16', 'int32', 'uint16', 'uint16', 'pf4q']);
  const swapped = await imported('Name;Register;Type;Order\na;40001;u32;word swapped\n');
  assert.equal(swapped['a']?.order, 'CDAB');
  assert.match(await refusal('Name;Register;Type;Order\na;40001;u32;Little Endian\n', '--order', 'ABCD'), /order "Little Endian" may mean several/);
  const lengths = await imported('Name;Register;Type;Size\na;40001;Unsigned;4\nb;40005;Signed;2\nc;40007;Unsigned;1\n', '--order', 'ABCD');
  assert.deepEqual(Object.values(lengths).map(({ type }) => type), ['uint64', 'int32', 'uint16']);
  const bytes = await imported('Name;Register;Type;Size\na;40001;UINT16;2\nb;40002;UINT32;4\nc;40004;String;20\n', '--order', 'ABCD');
  assert.equal(bytes['c']?.quantity, 10, 'the sizes are bytes');
  assert.match(await refusal('Name;Register;Type;Registers\na;40001;INT;2\nb;40003;INT;1\n'), /:2 {2}a its length has 2 registers, int16 takes 1/);
}); // prettier-ignore

test('what is exported is imported the same, for every device map that is shipped', async () => {
  const maps = join(packageFolder(), 'devices');
  const own = (tag: Tag): object => ({ ...tag, index: 0, device: null, group: null, topic: '', setTopic: '', getTopic: '', ackTopic: '', scaleFrom: tag.scaleFrom?.kind ?? null }); // prettier-ignore
  for (const name of readdirSync(maps).filter((file) => file.endsWith('.yaml'))) {
    const { device } = loadPlantOfMap(join(maps, name), {});
    const tags = device?.tags ?? [];
    const back = await imported(csvOf(tags, { tags }, ';'));
    for (const tag of tags) assert.deepEqual(own(back[tag.name] as Tag), own(tag), `${name} ${tag.name}`);
    assert.equal(Object.keys(back).length, tags.length);
  }
  const file = join(maps, 'eastron-sdm120.yaml');
  const { stdout, code } = await holdfast(['export', file]);
  assert.equal(code, 0);
  writeFileSync(join(folder, 'a.csv'), stdout);
  await holdfast(['import', join(folder, 'a.csv'), '-o', join(folder, 'a.yaml')]);
  assert.equal((await holdfast(['export', join(folder, 'a.yaml')])).stdout, stdout);
  assert.match(readFileSync(join(folder, 'a.yaml'), 'utf8'), /numbering: pdu/);
});

test('the bridges of a mosquitto.conf become uplinks that check accepts, and what was left out is told', async () => {
  const conf = join(folder, 'bridge.conf');
  writeFileSync(conf, `listener 1883
connection cloud
address broker.example:1883
topic data/# out 1 plant/ p7/
topic cmd/# in 1
remote_username gw
remote_password secret
bridge_psk x
`);
  const { code, stdout, stderr } = await holdfast(['import', conf]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /bridge\.conf:7: .*BRIDGE_PASSWORD/);
  assert.match(stderr, /bridge\.conf:8: bridge_psk/);
  assert.doesNotMatch(stdout, /secret/);
  writeFileSync(conf, '# no bridge\nlistener 1883\npassword_file passwd\n');
  assert.match((await holdfast(['import', conf])).stderr, /has no bridge.*users_file:/);
  const rows = await imported('name,address,type\nconnection state,40001,uint16\n');
  assert.deepEqual(Object.keys(rows), ['connection_state'], 'a row that begins as a bridge does');
  const gateway = join(folder, 'gateway.yaml');
  writeFileSync(gateway, `version: 1\nbroker: { anonymous: true }\n${stdout}`);
  const checked = await holdfast(['check', gateway], { env: { BRIDGE_PASSWORD: 'x' } });
  assert.equal(checked.code, 0, checked.stderr + checked.stdout);
}); // prettier-ignore
