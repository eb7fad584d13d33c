/**
 * Loaded before every test file: properties draw the same cases on every run, so that a red one is red again. Another
 * seed, or a new one each time, is asked for with HOLDFAST_SEED=NUMBER or HOLDFAST_SEED=random.
 */
import fc from 'fast-check';

const wanted = process.env['HOLDFAST_SEED'] ?? '20261122';
if (wanted !== 'random') fc.configureGlobal({ seed: Number(wanted) });
