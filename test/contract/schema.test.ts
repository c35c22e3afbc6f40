import { type GraphQLSchema, buildASTSchema, getNamedType, isEnumType, isInputObjectType, isInterfaceType, isObjectType, isSpecifiedScalarType, parse, printSchema } from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../server/domain/errors.js';
import { schemaDifferences } from '../../server/graphql/schema-gate.js';
import { buildClassSchema, buildServedSchema, readSdl } from '../../server/graphql/schema.js';

const sdl = readSdl();
let served: GraphQLSchema;
beforeAll(async () => {
  served = await buildServedSchema();
});

describe('the served schema', () => {
  it('is the authored one: the classes differ from it in nothing', async () => {
    expect(schemaDifferences(buildASTSchema(parse(sdl)), await buildClassSchema())).toEqual([]);
  });

  it('carries the descriptions of the SDL', () => {
    expect(printSchema(served)).toContain('"""How a backup stands."""');
  });

  const changes: [what: string, from: string, to: string, named: RegExp][] = [
    ['a field that no class has', '  "Its name."\n', '  "New."\n  colour: String\n  "Its name."\n', /type Project[^]*- colour: String/],
    ['another nullability', '  sha256: String!', '  sha256: String', /type DownloadLink[^]*- sha256: String\n[^]*\+ sha256: String!/],
    ['another default', 'expiresInSeconds: Int! = 3600', 'expiresInSeconds: Int! = 60', /input CreateDownloadLinkInput[^]*- expiresInSeconds: Int! = 60/],
    ['another argument type', 'first: Int! = 7', 'first: Float! = 7', /type BackupPolicy/],
    ['another enum value', '  SENTINEL\n', '  SENTINEL\n  "Other."\n  PROXY\n', /enum ServerMode[^]*- PROXY/],
    ['a type that no class has', 'scalar DateTime', 'scalar DateTime\n"Other."\nenum Colour { "Red." RED }', /enum Colour[^]*- RED/],
    ['an interface that no class implements', 'type Viewer {', 'type Viewer implements Node {\n  "Id."\n  id: ID!', /type Viewer/],
    ['a deprecation that no class has', '  keyName: String!', '  keyName: String! @deprecated(reason: "Use keyId. Goes 2030-01-01.")', /type Viewer[^]*@deprecated/],
  ];
  it.each(changes)('refuses to be built from an SDL with %s', async (_what, from, to, named) => {
    expect(sdl).toContain(from);
    await expect(buildServedSchema(sdl.replace(from, to))).rejects.toThrow(named);
  });

  it('describes every type, field, argument and enum value', () => {
    const silent: string[] = [];
    const look = (name: string, described: { description?: string | null | undefined }): void => {
      if (!described.description?.trim()) silent.push(name);
    };
    for (const type of Object.values(served.getTypeMap())) {
      if (type.name.startsWith('__') || isSpecifiedScalarType(type)) continue;
      look(type.name, type);
      if (isEnumType(type)) for (const value of type.getValues()) look(`${type.name}.${value.name}`, value);
      if (isInputObjectType(type)) for (const field of Object.values(type.getFields())) look(`${type.name}.${field.name}`, field);
      if (isObjectType(type) || isInterfaceType(type)) {
        for (const field of Object.values(type.getFields())) {
          look(`${type.name}.${field.name}`, field);
          for (const arg of field.args) look(`${type.name}.${field.name}(${arg.name}:)`, arg);
        }
      }
    }
    expect(silent).toEqual([]);
  });

  it('has the error codes of the domain, in its order', () => {
    const type = served.getType('ErrorCode');
    expect(isEnumType(type) && type.getValues().map((value) => value.name)).toEqual([...ERROR_CODES]);
  });

  it('gives every mutation one non-null input and a payload with userErrors', () => {
    for (const field of Object.values(served.getMutationType()?.getFields() ?? {})) {
      expect(field.args.map((arg) => `${arg.name}: ${arg.type.toString().replace(/.*!$/, 'T!')}`), field.name).toEqual(['input: T!']);
      const payload = getNamedType(field.type);
      if (!isObjectType(payload)) throw new Error(`${field.name} returns no object type`);
      expect(payload.getFields()['userErrors']?.type.toString(), field.name).toBe('[UserError!]!');
      for (const other of Object.values(payload.getFields())) {
        if (other.name !== 'userErrors') expect(other.type.toString(), `${payload.name}.${other.name}`).not.toMatch(/!$/);
      }
    }
  });
});
