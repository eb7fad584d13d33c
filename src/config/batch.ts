/** What is published as one JSON: the tags of a device with `payload: batch`, and consistent groups. */
import { isBitTable } from '../modbus/protocol.js';
import type { RawDevice } from './expand.js';
import type { Source } from './load.js';
import type { Batch, Device, Tag } from './plant.js';
import type { Path } from './problems.js';
import type { TopicPatterns, TopicUses } from './topics.js';

/** Those of one device; their places come when all tags are known. */
export function batchesOf(
  raw: RawDevice,
  device: Device,
  tags: readonly Tag[],
  patterns: TopicPatterns,
  uses: TopicUses,
): Batch[] {
  const batches: Batch[] = [];
  const topic = patterns.topic('batch', raw.name);
  const loose = tags.filter(({ payload, group }) => payload === 'batch' && group === null);
  const groups = raw.groups.filter(({ isConsistent }) => isConsistent);
  if (loose.length > 0) {
    const hasGroups = groups.length > 0;
    if (hasGroups)
      raw.source.add(
        'warning',
        'HF2403',
        raw.path,
        `topic ${topic} is both a value and the folder of its groups; put the other tags with payload: batch in a group too`,
        'key',
      );
    else uses.add(topic, `the batch of ${raw.name}`, raw.source, raw.path);
    batches.push(batchOf(device, null, loose, topic, null));
  }
  for (const group of groups) {
    const members = tags.filter((tag) => tag.group === group.name);
    if (members.length === 0) continue;
    const read = members.filter(({ formula }) => formula === null);
    if (read.length > 0) checkConsistent(device, group.name, read, group.source, group.path);
    const groupTopic = `${topic}/${group.name}`;
    uses.add(groupTopic, `group ${raw.name}/${group.name}`, group.source, group.path);
    batches.push(
      batchOf(device, group.name, members, groupTopic, recipeOf(device, group.name, tags, patterns)),
    );
  }
  return batches;
}

function checkConsistent(
  device: Device,
  name: string,
  tags: readonly Tag[],
  source: Source,
  path: Path,
): void {
  const tables = new Set(tags.map(({ table }) => table));
  if (tables.size > 1) {
    source.add(
      'error',
      'HF1317',
      path,
      `group ${name} is read in one request, which reads one table, not ${[...tables].join(' and ')}; split it`,
      'key',
    );
    return;
  }
  const pages = new Set(tags.map(({ select }) => JSON.stringify(select)));
  if (pages.size > 1)
    source.add(
      'error',
      'HF1317',
      path,
      `group ${name} is read in one request, and a request reads one page (select); split it`,
      'key',
    );
  const first = Math.min(...tags.map(({ address }) => address));
  const end = Math.max(...tags.map(({ address, quantity }) => address + quantity));
  const most = tags.every(({ table }) => isBitTable(table)) ? device.limits.bits : device.limits.registers;
  if (end - first > most)
    source.add(
      'error',
      'HF1317',
      path,
      `group ${name} reaches over ${end - first} addresses, one request reads ${most}; split it`,
      'key',
    );
  const intervals = new Set(tags.map(({ intervalMs }) => intervalMs));
  if (intervals.size > 1)
    source.add(
      'warning',
      'HF2317',
      path,
      `tags of group ${name} have different rates; the fastest counts for all, give the group one rate`,
      'key',
    );
}

/** A group is written at once when two of its tags are writable registers, and no tag has its name. */
function recipeOf(
  device: Device,
  group: string,
  tags: readonly Tag[],
  patterns: TopicPatterns,
): Batch['recipe'] {
  const isWritten = (tag: Tag): boolean => tag.group === group && tag.write?.table === 'holding-register';
  if (tags.filter(isWritten).length < 2 || tags.some(({ name }) => name === group)) return null;
  return {
    setTopic: patterns.topic('set', device.name, group),
    ackTopic: patterns.topic('ack', device.name, group),
  };
}

function batchOf(
  device: Device,
  group: string | null,
  tags: readonly Tag[],
  topic: string,
  recipe: Batch['recipe'],
): Batch {
  const qos = tags.reduce<0 | 1 | 2>((most, tag) => (tag.qos > most ? tag.qos : most), 0);
  return { index: -1, device, group, tags, qos, retain: false, topic, recipe };
}
