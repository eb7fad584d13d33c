#!/usr/bin/env node
/** The command line: find the verb, run it, turn its outcome into an exit code. */
process.stderr.write('holdfast\n');
