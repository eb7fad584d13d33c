/**
 * Entry of the process that simulates a plant: line physics needs a clock that nothing else disturbs. The first
 * message is the plant's spec, the next are orders; it ends with its parent.
 */
import { constants, setPriority } from 'node:os';
import { obey } from './control.js';
import { SimulatedPlant } from './plant.js';
import type { PlantSpec } from './spec.js';

let plant: SimulatedPlant | null = null;

process.on('message', (message: { spec?: PlantSpec }) => {
  void (async () => {
    try {
      if (message.spec !== undefined) {
        plant = await SimulatedPlant.start(message.spec);
        process.send?.({ addresses: await plant.addresses() });
      } else if (plant !== null) process.send?.(await obey(plant, message));
    } catch (error) {
      process.send?.({ error: error instanceof Error ? error.message : String(error) });
    }
  })();
});

process.on('disconnect', () => {
  void Promise.resolve(plant?.stop()).finally(() => process.exit(0));
});

// A terminal's Ctrl-C goes to the whole group; the parent decides when this process ends.
process.on('SIGINT', () => {});

try {
  setPriority(constants.priority.PRIORITY_HIGH);
} catch {
  // Only root may; without it the line is a little less punctual.
}
