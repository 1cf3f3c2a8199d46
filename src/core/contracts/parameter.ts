/**
 * What is known of a parameter without its values: freeze policies, loaders and summaries read this.
 */

/** `conv`: a convolution; `linear`: a fully connected layer; `norm`: a normalisation's scale or shift. */
export type ParameterKind = 'conv' | 'linear' | 'norm' | 'embedding';

/**
 * What the parameter's layer does in the network.
 *
 * - `input`, `output`: first and last convolution (with the output's norm)
 * - `conv0`, `conv1`, `skip`, `norm`, `affine`: of a residual block; `affine` takes the embedding in
 * - `qkv`, `proj`: of a block's self-attention
 * - `mapping`: noise level, labels and augmentation to the embedding
 * - `aux`: the auxiliary pyramid of NCSN++
 * - `head`: a discriminator's head; `feature`: a frozen feature network
 */
export type ParameterRole =
  'input' | 'output' | 'conv0' | 'conv1' | 'skip' | 'norm' | 'affine' | 'qkv' | 'proj' | 'mapping' | 'aux' | 'head' | 'feature';

/** A parameter without its values. */
export interface ParameterDescription {
  /** The published name, such as `model.enc.16x16_block0.conv0.weight`. */
  name: string;
  kind: ParameterKind;
  role: ParameterRole;
  /** The block it belongs to, such as `enc.16x16_block0`; undefined outside blocks. */
  block: string | undefined;
  /** Resolution level, 0 is the finest; undefined where the parameter belongs to no level. */
  level: number | undefined;
  /** Shape in the published (PyTorch) layout: OIHW, `[out, in]`, `[C]`. */
  shape: readonly number[];
  /** Number of values. */
  size: number;
}

/** Decides which parameters train. */
export interface FreezePolicy {
  /** For reports, such as `GDD-I (level 1)`. */
  readonly name: string;
  trains(parameter: ParameterDescription): boolean;
}
