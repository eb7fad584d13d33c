// The physics by themselves: what a line can do at most.

export function timesOf(baud, turnaroundMs) {
  const characterMs = 10_000 / baud;
  const silenceMs = baud <= 19_200 ? 3.5 * characterMs : 1.75;
  return {
    readMs: (quantity) => (13 + 2 * quantity) * characterMs + 2 * silenceMs + turnaroundMs,
    writeMs: 16 * characterMs + 2 * silenceMs + turnaroundMs,
    silenceMs,
  };
}

/** The cheapest cut of one unit's addresses into reads, in ms, and its longest read. */
export function cheapest(addresses, readMs) {
  const best = [0];
  const from = [0];
  for (let end = 1; end <= addresses.length; end++) {
    best[end] = Infinity;
    for (let start = end - 1; start >= 0; start--) {
      const quantity = addresses[end - 1] - addresses[start] + 1;
      if (quantity > 125) break;
      const cost = best[start] + readMs(quantity);
      if (cost < best[end]) [best[end], from[end]] = [cost, start];
    }
  }
  let longestMs = 0;
  for (let end = addresses.length; end > 0; end = from[end]) {
    longestMs = Math.max(longestMs, readMs(addresses[end - 1] - addresses[from[end]] + 1));
  }
  return { ms: best[addresses.length], longestMs };
}

/** 40 addresses in clusters of one to eight with gaps of 1 to 40, the same for every run. */
export function scattered(unitId) {
  let state = unitId * 7919;
  const below = (bound) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % bound;
  };
  const addresses = [];
  for (let at = below(10); addresses.length < 40; at += 1 + below(40)) {
    for (let left = 1 + below(8); left > 0 && addresses.length < 40; left--) addresses.push(at++);
  }
  return addresses;
}
