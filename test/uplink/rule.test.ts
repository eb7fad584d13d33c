import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UplinkRule } from '../../src/config/plant.js';
import { FORMS, jsonTemplate, textTemplate } from '../../src/config/template.js';
import type { Place } from '../../src/uplink/payload.js';
import { Router } from '../../src/uplink/rule.js';
import { ruleOf } from '../support/uplink.js';

const NOW_MS = 1_795_376_237_895;
const variables = new Map([
  ['sn', '"SN7"'],
  ['gateway', '"p7"'],
]);

/** Topics hf/data/DEVICE/TAG and hf/ack/DEVICE/TAG are places; hf/batch/DEVICE is a device. */
function placeOf(topic: string): Place | null {
  const [base, kind, device, ...tag] = topic.split('/');
  if (base !== 'hf' || device === undefined) return null;
  return { device, tag: kind === 'batch' ? null : tag.join('/') };
}

function routerOf(rules: readonly UplinkRule[], isOut = true): Router {
  return new Router({ rules, variables, placeOf: isOut ? placeOf : null, nowMs: () => NOW_MS });
}

function routed(router: Router, topic: string, payload: string): string | null {
  const found = router.route(topic, Buffer.from(payload));
  if (found === null || found === 'waits') return found;
  return `${found.topic} ${Buffer.from(found.payload).toString()}`;
}

test('the literal beginning is replaced and the rest kept', () => {
  const router = routerOf([
    ruleOf('holdfast/p7/data/#', 'plants/7/data/#'),
    ruleOf('holdfast/p7/device/+', 'plants/7/dev/+'),
    ruleOf('a/b', 'c'),
  ]);
  assert.equal(routed(router, 'holdfast/p7/data/press1/speed', 'x'), 'plants/7/data/press1/speed x');
  assert.equal(routed(router, 'holdfast/p7/device/press1', 'x'), 'plants/7/dev/press1 x');
  assert.equal(routed(router, 'holdfast/p7/set/press1/speed', 'x'), null);
  assert.equal(routed(router, 'a/b', 'x'), 'c x');
});

test('# matches its parent too, which must not become a torn topic', () => {
  assert.equal(routed(routerOf([ruleOf('a/#', 'x/y/#')]), 'a', '1'), 'x/y 1');
  assert.equal(routed(routerOf([ruleOf('#', 'x/#')]), 'a/b', '1'), 'x/a/b 1');
});

test('a topic that its rule would make too long for a packet is left to the next rule', () => {
  const longest = `a/${'x'.repeat(65_533)}`;
  assert.equal(routed(routerOf([ruleOf('a/#', 'b/#')]), longest, '1'), `b${longest.slice(1)} 1`);
  assert.equal(routed(routerOf([ruleOf('a/#', 'ab/#')]), longest, '1'), null);
  assert.equal(routed(routerOf([ruleOf('a/#', 'ü/#')]), longest, '1'), null);
  const inOne = ruleOf('a/#', 'all', { payload: FORMS.raw });
  assert.equal(routed(routerOf([ruleOf('a/#', 'ab/#'), inOne]), longest, '1'), 'all 1');
  assert.equal(routed(routerOf([ruleOf('a/#', `${'y'.repeat(65_536)}/{v}`)]), 'a/b', '1'), null);
});

test('nothing is brought under $ by a wildcard or a name, and no topic is made that is too long for one', () => {
  const router = routerOf([ruleOf('x/#', '#'), ruleOf('cmd', '{area}/on', { payload: null })], false);
  assert.equal(routed(router, 'x/plant/a', '1'), 'plant/a 1');
  assert.equal(routed(router, 'x/$SYS/a', '1'), null);
  assert.equal(routed(router, 'cmd', '{"area":"hall"}'), 'hall/on {"area":"hall"}');
  assert.equal(routed(router, 'cmd', '{"area":"$SYS"}'), null);
  assert.equal(routed(routerOf([ruleOf('a/#', '$aws/#')]), 'a/b', '1'), '$aws/b 1');
  const longer = routerOf([ruleOf('a/#', 'abc/#')]);
  assert.equal(routed(longer, `a/${'x'.repeat(65_531)}`, '1')?.length, 65_537);
  assert.equal(routed(longer, `a/${'x'.repeat(65_532)}`, '1'), null);
  assert.equal(routed(longer, `a/${'温'.repeat(21_844)}`, '1'), null);
});

test('a template keeps types and every digit, and takes what is there', () => {
  const template = {
    sn: '{sn}',
    name: '{device}.{tag}',
    value: '{v}',
    text: 'is {v} at {seconds}',
    quality: '{q}',
    why: '{e}',
    list: [1, true, null, '{{v}}'],
    time: '{t}',
  };
  const router = routerOf([
    ruleOf('hf/data/#', 'cloud/{device}/{tag}', {
      payload: { kind: 'json', template: jsonTemplate(template), isPerAnswer: false },
    }),
  ]);
  assert.equal(
    routed(router, 'hf/data/press/motor/energy', '{"v":18446744073709551615,"q":"good","t":1795376237001}'),
    'cloud/press/motor/energy {"sn":"SN7","name":"press.motor/energy","value":18446744073709551615,' +
      '"text":"is 18446744073709551615 at 1795376237","quality":"good","why":null,"list":[1,true,null,"{v}"],"time":1795376237001}',
  );
  assert.equal(
    routed(router, 'hf/data/press/mode', '{"v":"a \\"b\\"","q":"bad","e":"timeout","t":1}'),
    'cloud/press/mode {"sn":"SN7","name":"press.mode","value":"a \\"b\\"","text":"is a \\"b\\" at 0",' +
      '"quality":"bad","why":"timeout","list":[1,true,null,"{v}"],"time":1}',
  );
});

test('members of what a name stands for are reached by dots', () => {
  const router = routerOf([
    ruleOf('hf/batch/+', 'cloud/{device}', {
      payload: {
        kind: 'json',
        template: jsonTemplate({ ua: '{v.voltageA}', ub: '{v.voltageB}', uc: '{v.none.deeper}' }),
        isPerAnswer: false,
      },
    }),
  ]);
  assert.equal(
    routed(router, 'hf/batch/meter', '{"v":{"voltageA":230.10,"voltageB":null},"q":"bad","t":5}'),
    'cloud/meter {"ua":230.10,"ub":null,"uc":null}',
  );
});

test('raw is the bare value, whatever the tag publishes', () => {
  const router = routerOf([ruleOf('hf/data/#', 'raw/#', { payload: FORMS.raw })]);
  assert.equal(routed(router, 'hf/data/a/b', '{"v":21.50,"q":"good","t":1}'), 'raw/a/b 21.50');
  assert.equal(routed(router, 'hf/data/a/b', '{"v":"auto","q":"good","t":1}'), 'raw/a/b auto');
  assert.equal(routed(router, 'hf/data/a/b', '{"v":null,"q":"bad","t":1}'), 'raw/a/b ');
  assert.equal(routed(router, 'hf/data/a/b', '7'), 'raw/a/b 7');
  assert.equal(routed(router, 'hf/data/a/b', 'no json {'), 'raw/a/b no json {');
});

test('the samples of one answer are one message in batch and for ThingsBoard', () => {
  const texts = (router: Router): string[] =>
    router.flush().map(({ topic, payload }) => `${topic} ${Buffer.from(payload).toString()}`);
  const say = (router: Router): void => {
    for (const [topic, payload] of [
      ['hf/data/meter/power', '{"v":1.50,"q":"good","t":10}'],
      ['hf/data/press/speed', '{"v":3,"q":"good","t":10}'],
      ['hf/data/meter/energy', '{"v":null,"q":"bad","e":"exception","t":10}'],
      ['hf/data/meter/power', '{"v":1.6,"q":"good","t":20}'],
    ] as const)
      assert.equal(routed(router, topic, payload), 'waits');
  };
  const batch = routerOf([ruleOf('hf/data/#', 'b/{device}', { payload: FORMS.batch })]);
  say(batch);
  assert.equal(batch.waiting, 4);
  assert.deepEqual(texts(batch), [
    'b/meter {"device":"meter","v":{"power":1.50,"energy":null},"q":"bad","e":{"energy":"exception"},"t":10}',
    'b/press {"device":"press","v":{"speed":3},"q":"good","e":null,"t":10}',
    'b/meter {"device":"meter","v":{"power":1.6},"q":"good","e":null,"t":20}',
  ]);
  assert.equal(batch.waiting, 0);

  const board = routerOf([ruleOf('hf/#', 'v1/gateway/telemetry', { payload: FORMS.thingsboard })]);
  say(board);
  assert.deepEqual(texts(board), [
    'v1/gateway/telemetry {"meter":[{"ts":10,"values":{"power":1.50}}]}',
    'v1/gateway/telemetry {"press":[{"ts":10,"values":{"speed":3}}]}',
    'v1/gateway/telemetry {"meter":[{"ts":20,"values":{"power":1.6}}]}',
  ]);
  assert.equal(
    routed(board, 'hf/batch/meter', '{"v":{"a":1,"b":null},"q":"bad","t":7}'),
    'v1/gateway/telemetry {"meter":[{"ts":7,"values":{"a":1}}]}',
  );
  assert.equal(routed(board, 'hf/batch/meter', '{"v":{"a":null},"q":"bad","t":7}'), null, 'nothing to tell');
  for (const [tag, payload] of [
    ['power', '{"v":9999,"q":"uncertain","e":"implausible","t":30}'],
    ['energy', '{"v":17,"q":"good","t":30}'],
    ['current', '{"v":4,"q":"stale","e":"timeout","t":30}'],
  ] as const)
    assert.equal(routed(board, `hf/data/meter/${tag}`, payload), 'waits');
  assert.deepEqual(texts(board), ['v1/gateway/telemetry {"meter":[{"ts":30,"values":{"energy":17}}]}']);
  const uncertain = '{"v":{"a":1,"b":2},"q":"uncertain","e":{"b":"implausible"},"t":40}';
  assert.equal(
    routed(board, 'hf/batch/meter', uncertain),
    'v1/gateway/telemetry {"meter":[{"ts":40,"values":{"a":1}}]}',
  );
  const values = { kind: 'json', template: jsonTemplate('{values}'), isPerAnswer: false } as const;
  const single = routerOf([ruleOf('hf/data/#', 'cloud/{device}', { payload: values })]);
  assert.equal(routed(single, 'hf/data/meter/power', '{"v":9999,"q":"uncertain","t":30}'), null);
  assert.equal(routed(single, 'hf/data/meter/power', '{"v":5,"q":"good","t":30}'), 'cloud/meter {"power":5}');
});

test('what comes in is taken apart by its template, and can name no other topic than a level', () => {
  const rules = [
    ruleOf('cloud/cmd', 'hf/set/{device}/{data.method}', {
      payload: {
        kind: 'json',
        template: jsonTemplate({ v: '{data.params}', id: '{data.id}' }),
        isPerAnswer: false,
      },
    }),
  ];
  const router = routerOf(rules, false);
  assert.equal(
    routed(router, 'cloud/cmd', '{"device":"relay","data":{"id":17,"method":"out1","params":true}}'),
    'hf/set/relay/out1 {"v":true,"id":17}',
  );
  for (const device of ['a/b', '#', '+', '', 'x\u0000', null, { a: 1 }.a === 1 ? '../x' : ''])
    assert.equal(routed(router, 'cloud/cmd', JSON.stringify({ device, data: { method: 'out1' } })), null);
});

test('no payload from the network makes a rule throw', () => {
  const rules = [
    ruleOf('x', 'y', {
      payload: {
        kind: 'json',
        template: jsonTemplate({ a: '{v.a}', b: '{iso}', c: '{time} {payload}' }),
        isPerAnswer: false,
      },
    }),
  ];
  const router = routerOf(rules, false);
  for (const payload of [
    '',
    '{',
    '{}',
    '[]',
    'null',
    '"',
    '{"t":1e300}',
    '{"t":"x"}',
    '{"v":{"a":[1,{"b":"}"}]}}',
    '{"v":"\\u0000"}',
    `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    '{"__proto__":1,"v":{"a":2}}',
    ' { "v" : { "a" : 1 } , "t" : 5 } ',
  ]) {
    // prettier-ignore
    const text = routed(router, 'x', payload);
    assert.ok(text !== null);
    JSON.parse(text.slice(2));
  }
  const binary = router.route('x', Uint8Array.of(0xff, 0xfe, 0x00));
  assert.ok(binary !== null);
});

test('a text template is no JSON', () => {
  const payload = { kind: 'text', template: textTemplate('{tag},{v},{iso}'), isPerAnswer: false } as const;
  const router = routerOf([ruleOf('hf/data/#', 'csv/{device}', { payload })]);
  assert.equal(
    routed(router, 'hf/data/a/b', '{"v":"x,\\"y","q":"good","t":0}'),
    'csv/a b,x,"y,1970-01-01T00:00:00.000Z',
  );
});
