/**
 * Module: a tree of layers that owns named parameters and buffers.
 */
import { NamedTensor, Parameter, type ParameterOptions, type TensorLayout } from '../../core/parameter.js';
import { WeightsError } from '../../core/errors.js';
import type { RandomSource } from '../../core/contracts/random.js';

/** Fills one tensor of a new network; undefined where a published file must bring the values. */
export type Initializer = (random: RandomSource, tensor: NamedTensor) => Float32Array;

/** Where `load` reads from: an opened file or a checkpoint part. Values are in the published layout. */
export interface WeightSource {
  /** For error messages, such as the file's path. */
  readonly name: string;
  has(name: string): boolean;
  shape(name: string): readonly number[];
  read(name: string): Float32Array | Promise<Float32Array>;
  names(): Iterable<string>;
}

/** A layer or a network. Subclasses register what they own in their constructor; nothing is allocated there. */
export abstract class Module {
  readonly #parameters: Parameter[] = [];
  readonly #buffers: NamedTensor[] = [];
  readonly #children: Module[] = [];
  readonly #initializers = new Map<NamedTensor, Initializer>();

  protected addParameter(name: string, shape: readonly number[], options: ParameterOptions, initializer: Initializer): Parameter {
    const parameter = new Parameter(name, shape, options);
    this.#parameters.push(parameter);
    this.#initializers.set(parameter, initializer);
    return parameter;
  }

  protected addBuffer(name: string, shape: readonly number[], initializer: Initializer, layout?: TensorLayout): NamedTensor {
    const buffer = new NamedTensor(name, shape, layout);
    this.#buffers.push(buffer);
    this.#initializers.set(buffer, initializer);
    return buffer;
  }

  protected addChild<M extends Module>(child: M): M {
    this.#children.push(child);
    return child;
  }

  /** Every parameter of the tree, in the order of construction. */
  parameters(): Parameter[] {
    return [...this.#parameters, ...this.#children.flatMap((child) => child.parameters())];
  }

  /** Every buffer of the tree: values that are saved but never trained. */
  buffers(): NamedTensor[] {
    return [...this.#buffers, ...this.#children.flatMap((child) => child.buffers())];
  }

  /** Parameters and buffers: what a file holds. */
  tensors(): NamedTensor[] {
    return [...this.parameters(), ...this.buffers()];
  }

  parameterCount(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** Gives every parameter and buffer its starting values, from one random stream per tensor name. */
  initialize(random: RandomSource): this {
    for (const [tensor, initializer] of this.#initializers) tensor.load(initializer(random, tensor));
    for (const child of this.#children) child.initialize(random);
    return this;
  }

  /**
   * Loads every parameter and buffer from `source`, published names and layout.
   *
   * All missing and mis-shaped tensors are reported at once (`E_WEIGHTS_MISMATCH`), before any value changes.
   */
  async load(source: WeightSource): Promise<this> {
    this.expectWeights(source);
    for (const tensor of this.tensors()) tensor.load(await source.read(tensor.name));
    return this;
  }

  /** Throws `E_WEIGHTS_MISMATCH` where `load` would; no value is read. */
  expectWeights(source: WeightSource): void {
    const tensors = this.tensors();
    const problems: string[] = [];
    for (const { name, shape } of tensors) {
      if (!source.has(name)) {
        problems.push(`${name}: expected shape [${shape.join(', ')}], not in the file`);
        continue;
      }
      const found = source.shape(name);
      if (found.length !== shape.length || found.some((n, i) => n !== shape[i]))
        problems.push(`${name}: expected shape [${shape.join(', ')}], found [${found.join(', ')}]`);
    }
    if (problems.length > 0) {
      const shown = problems.slice(0, 8).map((problem) => `  - ${problem}`);
      if (problems.length > 8) shown.push(`  - … and ${problems.length - 8} more`);
      throw new WeightsError(
        'E_WEIGHTS_MISMATCH',
        `${source.name}: ${problems.length} of ${tensors.length} tensors do not fit\n${shown.join('\n')}`,
        {
          help: 'the weights belong to another architecture or the file is incomplete; check the configuration that was given or inferred',
        },
      );
    }
  }

  /** Copies every value of `other`, a network of the same architecture. */
  copyFrom(other: Module): this {
    const theirs = new Map(other.tensors().map((tensor) => [tensor.name, tensor]));
    for (const tensor of this.tensors()) {
      const source = theirs.get(tensor.name);
      if (!source) throw new WeightsError('E_WEIGHTS_MISMATCH', `${tensor.name} is not in the network to copy from`);
      tensor.assign(source.value.clone());
    }
    return this;
  }

  dispose(): void {
    for (const tensor of this.tensors()) tensor.dispose();
  }
}
