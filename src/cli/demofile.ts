/** Where the gateway file of the demo is. */
import { join } from 'node:path';
import { packageFolder } from '../entry.js';

export function demoFile(): string {
  return join(packageFolder(), 'config/demo.yaml');
}
