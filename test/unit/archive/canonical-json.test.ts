import { expect, it } from 'vitest';
import { canonicalJson } from '../../../server/engine/archive/canonical-json.js';

it('spells every value in one way', () => {
  expect(canonicalJson({ b: [1, null, true, -0], a: { z: '"\u00e9\u0007', '': 'x' }, B: {} })).toBe('{"B":{},"a":{"":"x","z":"\\"\u00e9\\u0007"},"b":[1,null,true,0]}');
  expect(canonicalJson({ '\ufb33': 1, '\ud83d\ude00': 2 })).toBe('{"\ud83d\ude00":2,"\ufb33":1}');
});

it('refuses numbers that not every reader keeps', () => {
  for (const value of [0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) expect(() => canonicalJson([value])).toThrow(RangeError);
});
