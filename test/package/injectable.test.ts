import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parse, productionSources } from './sources.js';

/** The name of a decorator, called or not: `inject` of `@inject(TOKEN)`. */
function decoratorName({ expression }: ts.Decorator): string {
  const callee = ts.isCallExpression(expression) ? expression.expression : expression;
  return ts.isPropertyAccessExpression(callee) ? callee.name.text : callee.getText();
}

const INJECTABLE = ['injectable', 'singleton', 'scoped', 'autoInjectable'];
const INJECT = ['inject', 'injectAll'];

const decorated = (node: ts.HasDecorators, names: readonly string[]) =>
  (ts.getDecorators(node) ?? []).some((decorator) => names.includes(decoratorName(decorator)));

/** Classes that a container builds, and of their constructors' parameters those that it could not fill. */
function injectables(file: ts.SourceFile): { name: string; missing: string[] }[] {
  const found: { name: string; missing: string[] }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isClassLike(node) && decorated(node, INJECTABLE)) {
      const constructor = node.members.find((member) => ts.isConstructorDeclaration(member) && member.body !== undefined);
      const parameters = (constructor as ts.ConstructorDeclaration | undefined)?.parameters ?? [];
      const missing = parameters.filter((parameter) => !decorated(parameter, INJECT)).map(({ name }) => name.getText());
      found.push({ name: node.name?.text ?? 'anonymous', missing });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

// esbuild emits no metadata of parameter types, so a parameter without @inject works in no build.
describe('every injectable class', () => {
  const classes = productionSources().flatMap((file) => injectables(file).map((entry) => ({ file: file.fileName, ...entry })));

  it('is found', () => {
    expect(classes.map(({ name }) => name)).toEqual(expect.arrayContaining(['Distributional', 'EncoderDiscriminator']));
  });

  it('says for each constructor parameter what is injected', () => {
    expect(classes.filter(({ missing }) => missing.length > 0)).toEqual([]);
  });
});

describe('the check of injectable classes itself', () => {
  const check = (text: string) => injectables(parse('fixture.ts', text));

  it('fails where a parameter lacks @inject', () => {
    const text = `
      @injectable()
      export class Part {
        constructor(@inject(RANDOM) readonly random: RandomSource, private readonly loss: Loss, { seed }: Options = {}) {}
      }`;
    expect(check(text)).toEqual([{ name: 'Part', missing: ['loss', '{ seed }'] }]);
  });

  it('takes injectAll, other decorators beside it, and classes without a constructor', () => {
    const text = `
      @tsyringe.injectable() class A { constructor(@injectAll(SINKS) @optional() sinks: Sink[]) {} }
      const B = @singleton() class { };
      class C { constructor(readonly free: string) {} }`;
    expect(check(text)).toEqual([
      { name: 'A', missing: [] },
      { name: 'anonymous', missing: [] },
    ]);
  });
});
