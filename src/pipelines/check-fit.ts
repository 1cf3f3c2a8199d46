/**
 * A network and a data set must speak of the same images.
 */
import type { DataDescription } from '../core/contracts/data.js';
import { ConfigError } from '../core/errors.js';
import type { BackboneConfig } from '../models/backbones/backbone.js';

/** Throws `E_CONFIG` with everything in which the network `name` and the data differ. */
export function checkFit(where: string, name: string, config: BackboneConfig, data: DataDescription): void {
  const { img_resolution, img_channels, label_dim } = config;
  const problems: string[] = [];
  if (data.resolution !== img_resolution)
    problems.push(`resolution: ${name} makes ${img_resolution} px, ${data.name} has ${data.resolution} px`);
  if (data.channels !== img_channels) problems.push(`channels: ${name} makes ${img_channels}, ${data.name} has ${data.channels}`);
  if (label_dim > 0 && data.classes !== label_dim) problems.push(`classes: ${name} knows ${label_dim}, ${data.name} has ${data.classes}`);
  if (problems.length > 0)
    throw new ConfigError(where, problems, { help: 'network and data must agree; resize the data or take another network' });
}
