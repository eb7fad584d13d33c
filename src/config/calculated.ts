/** Calculated tags: their formulas, read once all tags of the device are known. */
import { parseFormula } from './formula.js';
import { say } from './layers.js';
import { fastestOf, type FormulaNode, type Tag } from './plant.js';
import type { TagDraft } from './tag.js';
import { isNumber } from './types.js';

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
    const text = textAmong(parsed.root, (position) => byIndex.get(parsed.inputs[position] ?? -1)?.tag);
    if (text !== undefined)
      say(
        formula,
        'error',
        'HF1319',
        `calculates with ${text}, which is a text; compare it with == or !=, or leave it out`,
      );
    const chain = [...above, draft];
    const circle = inputs.find((input) => chain.includes(input));
    if (circle !== undefined)
      return say(formula, 'error', 'HF1319', `is calculated from itself by way of ${circle.tag.name}`);
    for (const input of inputs) finish(input, chain);
    tag.intervalMs = fastestOf(inputs.map((input) => input.tag.intervalMs));
  };
  for (const draft of drafts) finish(draft, []);
}

/** What takes a text as it is; everything else wants numbers, and would never have a value. */
const TAKES_TEXTS: readonly string[] = ['==', '!=', '&&', '||', 'not', 'if'];

/** The name of a tag that is always a text, calculated with as if it were a number. An enum may hold numbers as well. */
function textAmong(node: FormulaNode, tagAt: (position: number) => Tag | undefined): string | undefined {
  if (node.kind !== 'call') return undefined;
  for (const arg of node.args) {
    const tag = arg.kind === 'input' && !TAKES_TEXTS.includes(node.name) ? tagAt(arg.position) : undefined;
    if (tag !== undefined && isText(tag)) return tag.name;
    const inner = textAmong(arg, tagAt);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function isText({ type, formula, flags }: Tag): boolean {
  return formula === null && (flags !== null || (type !== 'bool' && !isNumber(type)));
}
