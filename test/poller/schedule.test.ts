import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { momentAfter, nextDue, phaseOf, Schedule, type Work } from '../../src/poller/schedule.js';

class Job implements Work {
  readonly handicapMs = 0;
  readonly intervalMs: number;
  readonly costMs: number;
  countedMs = 0;
  dueMs: number;
  deadlineMs = 0;
  slot = -1;
  isReady = false;

  constructor(intervalMs: number, costMs: number, dueMs: number) {
    this.intervalMs = intervalMs;
    this.costMs = costMs;
    this.dueMs = dueMs;
  }
}

const jobs = fc.array(
  fc.record({
    intervalMs: fc.integer({ min: 1, max: 3000 }),
    costMs: fc.integer({ min: 1, max: 100 }),
    dueMs: fc.integer({ min: 0, max: 1000 }),
  }),
  { minLength: 1, maxLength: 30 },
);

test('whatever is due is served within twice the sum of all costs, however overloaded the line is', () => {
  fc.assert(
    fc.property(jobs, (list) => {
      const schedule = new Schedule<Job>();
      for (const { intervalMs, costMs, dueMs } of list) schedule.add(new Job(intervalMs, costMs, dueMs));
      const sumMs = list.reduce((sum, { costMs }) => sum + costMs, 0);
      assert.ok(Math.abs(schedule.sumOfCostsMs - sumMs) < 1e-9);
      for (let nowMs = 0; nowMs < 20_000;) {
        const job = schedule.next(nowMs);
        if (job === undefined) {
          nowMs = schedule.nextDueMs(nowMs);
          continue;
        }
        assert.ok(nowMs - job.dueMs <= 2 * sumMs, `${nowMs - job.dueMs} ms late, the sum is ${sumMs}`);
        schedule.remove(job);
        nowMs += job.costMs;
        job.dueMs = nextDue(job, job.dueMs, nowMs).dueMs;
        schedule.add(job);
      }
    }),
    { numRuns: 200 },
  );
});

test('with time to spare everything is served on its grid', () => {
  const schedule = new Schedule<Job>();
  const job = new Job(100, 5, 0);
  schedule.add(job);
  const served: number[] = [];
  for (let nowMs = 0; nowMs < 1000;) {
    const next = schedule.next(nowMs);
    if (next === undefined) {
      nowMs = schedule.nextDueMs(nowMs);
      continue;
    }
    served.push(nowMs);
    schedule.remove(next);
    nowMs += 5;
    next.dueMs = nextDue(next, next.dueMs, nowMs).dueMs;
    schedule.add(next);
  }
  assert.deepEqual(served, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
});

test('work that was late by several periods is due once, and what was passed over is counted', () => {
  const job = new Job(100, 5, 0);
  assert.deepEqual(nextDue(job, 1000, 1040), { dueMs: 1100, missed: 0 });
  assert.deepEqual(nextDue(job, 1000, 1350), { dueMs: 1350, missed: 2 });
});

test('whatever is taken out in any order, the earliest deadline is next', () => {
  fc.assert(
    fc.property(jobs, fc.array(fc.nat(29)), (list, removed) => {
      const schedule = new Schedule<Job>();
      const all = list.map(({ intervalMs, costMs, dueMs }) => new Job(intervalMs, costMs, dueMs));
      for (const job of all) schedule.add(job);
      schedule.next(500);
      for (const at of removed) {
        const job = all[at];
        if (job !== undefined) schedule.remove(job);
      }
      const left = all.filter(({ slot }) => slot >= 0);
      const due = left.filter(({ dueMs }) => dueMs <= 1000);
      const next = schedule.next(1000);
      const least = Math.min(...due.map(({ deadlineMs }) => deadlineMs));
      assert.equal(next?.deadlineMs ?? Infinity, least);
      assert.equal(schedule.readyCount, due.length);
      for (const job of left) schedule.remove(job);
      assert.equal(schedule.next(1e9), undefined);
      assert.ok(Math.abs(schedule.sumOfCostsMs) < 1e-6);
    }),
    { numRuns: 200 },
  );
});

test('any run of devices is spread over the period without large gaps', () => {
  for (const [first, count] of [
    [0, 10],
    [37, 20],
    [500, 200],
  ] as const) {
    const phases = Array.from({ length: count }, (_, i) => phaseOf(first + i, 1000)).sort((a, b) => a - b);
    const gaps = phases.map((phase, i) => (phases[i + 1] ?? 1000 + (phases[0] ?? 0)) - phase);
    assert.ok(Math.max(...gaps) <= 2.7 * (1000 / count), `gap of ${Math.max(...gaps)} among ${count}`);
  }
});

test('moments that links share are never before what was asked, and at most a tenth of the period after', () => {
  const times = fc.double({ min: 0, max: 1e9, noNaN: true });
  fc.assert(
    fc.property(times, fc.integer({ min: 10, max: 86_400_000 }), (atMs, intervalMs) => {
      const moment = momentAfter(atMs, intervalMs);
      const roundingMs = 1e-3;
      assert.ok(moment >= atMs - roundingMs && moment - atMs < intervalMs / 10 + roundingMs);
      assert.ok(Math.abs(momentAfter(moment - intervalMs / 200, intervalMs) - moment) < roundingMs);
    }),
  );
});
