import { describe, expect, it } from 'vitest';
import { bothOf, functionApiOf, MAX_FUNCTION_CODE, surelyNeedsMore } from '../../../server/engine/rdb/functions.js';
import { lzfBytes, lzfRun, RdbBuilder } from '../../kit/rdb-builder.js';
import { CHUNK_SIZES, readIn } from './samples.js';

const needs = (code: string): string => functionApiOf(Buffer.from(code), Buffer.byteLength(code));

describe('what a library needs', () => {
  it('is seen from its first line and the words in it', () => {
    expect(needs("#!lua name=a\nredis.register_function('a', function() return 1 end)")).toBe('REDIS');
    expect(needs('#!LUA name=a\nlocal observer = 1')).toBe('REDIS');
    expect(needs("#!lua name=a\nserver.register_function('a', function() return 1 end)")).toBe('SERVER');
    expect(needs('#!lua name=a\n_G["server"].log(1)')).toBe('SERVER');
    expect(functionApiOf(Buffer.from('#!lua name=a\nredis'), MAX_FUNCTION_CODE + 1)).toBe('SERVER');
    for (const code of ['#!js name=a\nserver', '#!luajit name=a\n', 'no line', '']) expect(needs(code)).toBe('OTHER');
    expect([bothOf(null, 'REDIS'), bothOf('SERVER', 'REDIS'), bothOf('SERVER', 'OTHER'), bothOf('OTHER', 'SERVER')]).toEqual(['REDIS', 'SERVER', 'OTHER', 'OTHER']);
  });

  it('is certain only where a name in the code says so', () => {
    for (const code of ['server.call(1)', 'local x = server.log', 'x(server["call"])', "redis.call('a') server . pcall()"]) expect(surelyNeedsMore(`#!lua name=a\n${code}`)).toBe(true);
    for (const code of [
      'redis.call(1)', '-- server.call', 'x = "server.call"', "x = 'it\\'s server.call'", '--[[ server.call\nserver.x ]] y', 'x = [==[ server.a ]] ]==]', 'local server = redis\nserver.call(1)',
      'local a, server = 1, redis server.call()', 'local function f(server) return server.call() end', 'a.server.call()', 'observer.call()',
    ]) expect(surelyNeedsMore(`#!lua name=a\n${code}`), code).toBe(false);
    expect(surelyNeedsMore('#!js name=a\n')).toBe(true);
  });

  it('comes out of a walk in pieces of any size, also where the code is compressed or long', () => {
    const lua = (code: string): string => `#!lua name=a\n${code}`;
    const of = (build: (builder: RdbBuilder) => RdbBuilder): (string | undefined)[] => {
      const file = build(new RdbBuilder(11)).select(0).string('k', 'v').build();
      return [...new Set(CHUNK_SIZES.map((size) => { const { functionApi, functions } = readIn(file, size); return `${functionApi ?? 'none'} ${String(functions)}`; }))];
    };
    expect(of((builder) => builder)).toEqual(['none 0']);
    expect(of((builder) => builder.func(lua('redis.call')).func(lua('redis.pcall')))).toEqual(['REDIS 2']);
    expect(of((builder) => builder.func(lua('redis.call')).func(lua('server.call')).func(lua('x')))).toEqual(['SERVER 3']);
    expect(of((builder) => builder.func(lua('x'.repeat(MAX_FUNCTION_CODE))))).toEqual(['SERVER 1']);
    expect(of((builder) => builder.func('#!js name=a\nx').func(lua('server.call')))).toEqual(['OTHER 2']);
    expect(of((builder) => builder.raw([245], lzfBytes(lzfRun(97, 100_000), 100_000)))).toEqual(['OTHER 1']);
  });
});
