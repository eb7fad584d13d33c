/** What every way to reach a simulated bus has in common. */
import type { Station } from './station.js';

/** Where a master finds the bus. */
export type Address =
  | { readonly kind: 'socket'; readonly host: string; readonly port: number }
  | { readonly kind: 'serial'; readonly path: string };

export interface Endpoint {
  readonly station: Station;
  readonly address: Address;
  open(): Promise<void>;
  /** Link faults may have changed. */
  refresh(): Promise<void>;
  /** Pulls the plug: a serial adapter is gone, a device is off the net; plugIn() brings it back at the same address. */
  unplug(): Promise<void>;
  plugIn(): Promise<void>;
  close(): Promise<void>;
}
