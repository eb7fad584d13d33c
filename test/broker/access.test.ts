import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type AccessRule, Rights, type Right } from '../../src/broker/access.js';
import { matches } from '../../src/broker/topic.js';

const rule = (topic: string, allow: Right[], more: Partial<AccessRule> = {}): AccessRule => ({
  user: null,
  group: null,
  client: null,
  allow,
  deny: [],
  topic,
  ...more,
});
const who = (user: string, clientId = 'c', groups: string[] = []) => ({ user, clientId, groups });

describe('access rules', () => {
  test('without rules whoever may connect may do all; with an empty list nothing', () => {
    assert.ok(new Rights(null, who('')).mayWrite('a'));
    const none = new Rights([], who('a'));
    assert.ok(!none.mayWrite('a') && !none.mayRead('a') && !none.maySubscribe('a'));
  });

  test('the first rule that names the right and matches decides', () => {
    const rights = new Rights(
      [
        rule('plant/secret/#', [], { deny: ['read'] }),
        rule('plant/#', ['read']),
        rule('plant/+/set', ['write']),
      ],
      who('u'),
    );
    assert.ok(rights.mayRead('plant/a'));
    assert.ok(!rights.mayRead('plant/secret/a'));
    assert.ok(rights.mayWrite('plant/a/set'));
    assert.ok(!rights.mayWrite('plant/a'));
    assert.ok(!rights.mayRead('other'));
  });

  test('a filter is granted when one rule covers it; who may read may subscribe', () => {
    const rights = new Rights([rule('holdfast/+/data/#', ['read']), rule('x', ['subscribe'])], who('scada'));
    assert.ok(rights.maySubscribe('holdfast/gw/data/#'));
    assert.ok(rights.maySubscribe('holdfast/+/data/a'));
    assert.ok(!rights.maySubscribe('holdfast/#'));
    assert.ok(!rights.maySubscribe('#'));
    assert.ok(rights.maySubscribe('x') && !rights.mayRead('x'));
  });

  test('rules name users, groups and clients', () => {
    const rules = [
      rule('u', ['read'], { user: 'anna' }),
      rule('g', ['read'], { group: 'ops' }),
      rule('c', ['read'], { client: 'c1' }),
    ];
    const may = (identity: ReturnType<typeof who>): string =>
      ['u', 'g', 'c'].filter((topic) => new Rights(rules, identity).mayRead(topic)).join('');
    assert.equal(may(who('anna', 'x')), 'u');
    assert.equal(may(who('bob', 'x', ['ops'])), 'g');
    assert.equal(may(who('', 'c1')), 'c');
  });

  test('names are filled in as text, never as patterns', () => {
    const rules = [rule('home/{user}/#', ['read', 'write']), rule('dev/{client}', ['write'])];
    assert.ok(new Rights(rules, who('anna')).mayRead('home/anna/x'));
    assert.ok(!new Rights(rules, who('anna')).mayRead('home/bob/x'));
    for (const hostile of ['#', '+', 'a/b', '', 'a\n']) {
      assert.ok(!new Rights(rules, who(hostile)).mayRead('home/bob/x'), hostile);
      assert.ok(!new Rights(rules, who('x', hostile)).mayWrite('dev/other'), hostile);
    }
    assert.ok(new Rights(rules, who('$&')).mayRead('home/$&/x'));
    const braced = new Rights(rules, who('{client}', 'bob'));
    assert.ok(braced.mayRead('home/{client}/x') && !braced.mayRead('home/bob/x'));
  });

  test('a name that begins with $ leads to nothing that the broker tells of itself', () => {
    const own = new Rights([rule('{client}/#', ['read', 'write'])], who('', '$SYS'));
    assert.ok(!own.maySubscribe('$SYS/#') && !own.mayRead('$SYS/broker/uptime'));
    const deeper = [rule('dev/{client}/#', ['read']), rule('$SYS/clients/{client}', ['read'])];
    const odd = new Rights(deeper, who('', '$1'));
    assert.ok(odd.mayRead('dev/$1/a') && odd.mayRead('$SYS/clients/$1'));
  });

  test('a granted filter without a denial below it yields only readable topics', () => {
    const level = fc.constantFrom('a', 'b', '+');
    const filter = fc.tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean()).map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/')); // prettier-ignore
    const topic = fc
      .array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 })
      .map((levels) => levels.join('/'));
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 4 }), filter, topic, (topics, asked, t) => {
        const rights = new Rights(topics.map((one) => rule(one, ['read'])), who('u')); // prettier-ignore
        if (rights.maySubscribe(asked) && matches(asked, t)) assert.ok(rights.mayRead(t));
      }),
      { numRuns: 2000 },
    );
  });
});
