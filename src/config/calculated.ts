/** Calculated tags: their formulas, read once all tags of the device are known. */
import { parseFormula } from './formula.js';
import { say } from './layers.js';
import { fastestOf } from './plant.js';
import type { TagDraft } from './tag.js';

/** Formulas, now that all tags of the device have their places; they are as fresh as the fastest of what they read. */
export function calculate(drafts: readonly TagDraft[], indexOf: ReadonlyMap<string, number>): void {
  const byIndex = new Map(drafts.map((draft) => [draft.tag.index, draft]));
  const done = new Set<TagDraft>();
  const finish = (draft: TagDraft, above: readonly TagDraft[]): void => {
    const { tag, formula } = draft;
    if (formula === null || done.has(draft)) return;
    done.add(draft);
    const prefix = tag.name.slice(0, tag.name.lastIndexOf('/') + 1);
    const find = (name: string): number | undefined => indexOf.get(prefix + name) ?? indexOf.get(name);
    const parsed = parseFormula(formula.value, find, () => indexOf.keys());
    if (typeof parsed === 'string') return say(formula, 'error', 'HF1319', parsed);
    tag.formula = parsed;
    const inputs = parsed.inputs.flatMap((index) => byIndex.get(index) ?? []);
    const chain = [...above, draft];
    const circle = inputs.find((input) => chain.includes(input));
    if (circle !== undefined)
      return say(formula, 'error', 'HF1319', `is calculated from itself by way of ${circle.tag.name}`);
    for (const input of inputs) finish(input, chain);
    tag.intervalMs = fastestOf(inputs.map((input) => input.tag.intervalMs));
  };
  for (const draft of drafts) finish(draft, []);
}
