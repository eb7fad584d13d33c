/** Problems that only follow from others, and are therefore not told. */
import type { Shaped } from './complaints.js';
import type { Maps } from './expand.js';
import { type Path, type Problem, keyOf, pathText } from './problems.js';
import type { GatewayInput } from './schema/gateway.js';

const MISSING = 'HF1102';

/** What follows from something that was taken out because it was wrong is not worth a line. */
export function forgetConsequences(
  shaped: Shaped<GatewayInput>,
  input: GatewayInput,
  mapless: readonly Path[],
  maps: Maps,
): void {
  const { removed, misnamed } = shaped;
  const isWrong = (path: string): boolean => removed.has(path) || misnamed.has(path);
  const withoutMap = mapless.map((path) => `${pathText(path)}.`);
  const busless = Object.entries(input.devices ?? {})
    .filter(([, { bus }]) => isWrong('buses') || isWrong(pathText(['buses', keyOf(bus)])))
    .map(([key]) => pathText(['devices', key, 'bus']));
  const isConsequence = ({ code, path }: Problem): boolean => {
    if (code === 'HF2501') return [...removed, ...misnamed].some((one) => one.startsWith('broker'));
    if (code === 'HF1201') return busless.includes(path);
    if (code === 'HF2207')
      return [...removed, ...misnamed, ...withoutMap].some((one) => one.startsWith(`${path}.`));
    const isOfMap = code === 'HF1301' || code === 'HF1206' || code === 'HF2206';
    return isOfMap && withoutMap.some((device) => path.startsWith(device));
  };
  forget(shaped, isConsequence);
  for (const map of maps.loaded.values()) forget(map, () => false);
}

function forget(
  { source: { problems }, removed, misnamed }: Shaped<unknown>,
  isConsequence: (problem: Problem) => boolean,
): void {
  const parents = [...removed];
  const told = new Set(
    problems.filter(({ code }) => isShapeCode(code) && code !== MISSING).map(({ path }) => path),
  );
  const kept = problems.filter((problem) => {
    const { code, path } = problem;
    if (isConsequence(problem)) return false;
    if (code === MISSING && told.has(path)) return false;
    if (misnamed.has(path)) return false;
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
