/** The process's metrics as Prometheus text. Loaded only when somebody asks for /metrics. */
import { Counter as PromCounter, Gauge, Registry } from 'prom-client';
import type { Metrics } from '../metrics.js';

const PREFIX = 'holdfast_';

/** One scrape: a registry of the moment, because buses, uplinks and clients come and go. */
export async function exposition(metrics: Metrics): Promise<{ type: string; text: string }> {
  const registry = new Registry();
  const known = new Map<string, PromCounter | Gauge>();
  for (const metric of metrics.list()) {
    let shown = known.get(metric.name);
    if (shown === undefined) {
      const shape = {
        name: PREFIX + metric.name,
        help: metric.help,
        labelNames: Object.keys(metric.labels),
        registers: [registry],
      };
      shown = metric.kind === 'counter' ? new PromCounter(shape) : new Gauge(shape);
      known.set(metric.name, shown);
    }
    const value = metric.read();
    if (Number.isFinite(value)) shown.inc(metric.labels, Math.max(0, value));
  }
  return { type: registry.contentType, text: await registry.metrics() };
}
