/** Problems that only follow from others, and are therefore not told. */
import type { Shaped } from './complaints.js';
import type { Maps } from './expand.js';
import type { Source } from './load.js';
import { type Path, type Problem, keyOf, pathText } from './problems.js';
import type { GatewayInput } from './schema/gateway.js';

/** What follows from something that was taken out because it was wrong is not worth a line. */
export function forgetConsequences(
  { source, removed }: Shaped<GatewayInput>,
  input: GatewayInput,
  mapless: readonly Path[],
  maps: Maps,
): void {
  const withoutMap = mapless.map((path) => `${pathText(path)}.`);
  const busless = Object.entries(input.devices ?? {})
    .filter(([, { bus }]) => removed.has('buses') || removed.has(pathText(['buses', keyOf(bus)])))
    .map(([key]) => pathText(['devices', key, 'bus']));
  const isConsequence = ({ code, path }: Problem): boolean => {
    if (code === 'HF2501') return [...removed].some((one) => one.startsWith('broker'));
    if (code === 'HF1201') return busless.includes(path);
    const isOfMap = code === 'HF1301' || code === 'HF1206' || code === 'HF2206';
    return isOfMap && withoutMap.some((device) => path.startsWith(device));
  };
  forget(source, removed, isConsequence);
  for (const map of maps.loaded.values()) forget(map.source, map.removed, () => false);
}

function forget(
  source: Source,
  removed: ReadonlySet<string>,
  isConsequence: (problem: Problem) => boolean,
): void {
  const { problems } = source;
  const parents = [...removed];
  const kept = problems.filter((problem) => {
    const { code, path } = problem;
    if (isConsequence(problem)) return false;
    if (isShapeCode(code)) return true;
    if (removed.has(path)) return false;
    return !/^HF1[356]/.test(code) || !parents.some((one) => one.startsWith(`${path}.`));
  });
  if (kept.length < problems.length) problems.splice(0, problems.length, ...kept);
}

/** Codes of load.ts and complaints.ts. */
function isShapeCode(code: string): boolean {
  return code.startsWith('HF10') || code.startsWith('HF11');
}
