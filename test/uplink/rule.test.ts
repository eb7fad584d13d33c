import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problemOf, route, type Rule } from '../../src/uplink/rule.js';

const rule = (from: string, to: string): Rule => ({ from, to, qos: 1, retain: 'keep' });

test('the literal beginning is replaced and the rest kept', () => {
  const rules = [
    rule('holdfast/p7/data/#', 'plants/7/data/#'),
    rule('holdfast/p7/device/+', 'plants/7/dev/+'),
  ];
  assert.equal(route(rules, 'holdfast/p7/data/press1/speed')?.topic, 'plants/7/data/press1/speed');
  assert.equal(route(rules, 'holdfast/p7/device/press1')?.topic, 'plants/7/dev/press1');
  assert.equal(route(rules, 'holdfast/p7/set/press1/speed'), null);
  assert.equal(route([rule('a/b', 'c')], 'a/b')?.topic, 'c');
});

test('# matches its parent too, which must not become a torn topic', () => {
  assert.equal(route([rule('a/#', 'x/y/#')], 'a')?.topic, 'x/y');
  assert.equal(route([rule('#', 'x/#')], 'a/b')?.topic, 'x/a/b');
});

test('both sides must have the same wildcards', () => {
  assert.equal(problemOf(rule('a/#', 'b/#')), null);
  assert.match(problemOf(rule('a/#', 'b/+')) ?? '', /same wildcards/);
  assert.match(problemOf(rule('a/+/c', 'b')) ?? '', /same wildcards/);
});
