/**
 * The images of a recipe: any data set, checked against what the recipe trains on before anything else is loaded.
 */
import type { Part } from '../core/container.js';
import type { DataDescription, DataSource, ImageBatch } from '../core/contracts/data.js';
import { ConfigError } from '../core/errors.js';
import { dataset } from '../data/dataset.js';
import { publishedBackbones, resolveBackboneConfig } from '../models/backbones/config.js';
import type { PresetRow } from './preset-table.js';

/** A data set that must be that of a recipe. */
class CheckedSource implements DataSource {
  readonly #source: DataSource;

  constructor(
    private readonly where: string,
    path: string,
    private readonly row: PresetRow,
  ) {
    this.#source = dataset(path);
  }

  /** Throws `E_CONFIG` with everything in which the images are not the recipe's. */
  async open(): Promise<DataDescription> {
    const found = await this.#source.open();
    const { title, network, classes } = this.row;
    const { img_resolution: resolution, img_channels: channels } = resolveBackboneConfig({ ...publishedBackbones[network] });
    const problems: string[] = [];
    if (found.resolution !== resolution)
      problems.push(`resolution: ${title} has ${resolution} px, ${found.name} has ${found.resolution} px`);
    if (found.channels !== channels) problems.push(`channels: ${title} has ${channels}, ${found.name} has ${found.channels}`);
    // A recipe without classes has no use for labels, and may be given a set that has some.
    if (classes > 0 && found.classes !== classes)
      problems.push(
        `classes: the teacher of ${title} knows ${classes} in the order of the published set, ${found.name} has ${found.classes === 0 ? 'no labels' : found.classes}`,
      );
    if (problems.length === 0) return found;
    await this.#source.close();
    throw new ConfigError(this.where, problems, {
      help: `give the data set of the recipe; onestep dataset make SOURCE OUT.zip --crop --size ${resolution} makes one of other images`,
    });
  }

  read(indices: Uint32Array, signal?: AbortSignal): Promise<ImageBatch> {
    return this.#source.read(indices, signal);
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}

/** The images that a path names; without one the part says what is missing. */
export function presetData(where: string, path: string | undefined, row: PresetRow): Part<DataSource> {
  if (path !== undefined) return { description: { part: 'dataset', options: { path } }, build: () => new CheckedSource(where, path, row) };
  const missing = `data: no images of ${row.title} were given; pass the path of a data set or a DataSource as \`data\``;
  return {
    description: { part: 'data', options: {} },
    missing: [missing],
    build: () => {
      throw new ConfigError(where, [missing]);
    },
  };
}
