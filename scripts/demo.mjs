/** `npm run demo`: on a fresh machine, from a clone to live values. */
process.argv.splice(2, 0, 'demo');
await import('./run.mjs');
