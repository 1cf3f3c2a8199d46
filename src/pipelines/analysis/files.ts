/**
 * An analysis of activations on disk.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { withFileErrors, writeFileAtomic } from '../../core/files.js';
import type { ActivationAnalysis } from './analyze-activations.js';
import { summarizeActivations } from './compare.js';
import { activationHeatMap, spectrumCharts, spectrumHeatMap } from './figures.js';
import { activationsCsv, formatActivations, spectraCsv } from './table.js';

/**
 * Writes an analysis into a directory, which is made: `analysis.json` (every number, and the summaries), `table.txt`, `activations.csv`,
 * `spectra.csv`, and the pictures `blocks.svg`, `layers.svg`, `spectra.svg` and `spectra-by-sigma.svg`.
 *
 * @returns the paths. Throws {@link FileError} as `writeFileAtomic`.
 */
export async function writeActivationAnalysis(directory: string, analysis: ActivationAnalysis): Promise<string[]> {
  const summaries = [...summarizeActivations(analysis, 'block'), ...summarizeActivations(analysis, 'layer')];
  const files: Record<string, string> = {
    'analysis.json': `${JSON.stringify({ ...analysis, summaries }, null, 2)}\n`,
    'table.txt': `${formatActivations(analysis)}\n\n${formatActivations(analysis, { rows: 'layer' })}\n`,
    'activations.csv': activationsCsv(analysis),
    'spectra.csv': spectraCsv(analysis),
    'blocks.svg': activationHeatMap(analysis),
    'layers.svg': activationHeatMap(analysis, { rows: 'layer' }),
    'spectra.svg': spectrumCharts(analysis),
    'spectra-by-sigma.svg': spectrumHeatMap(analysis),
  };
  await withFileErrors(directory, 'write', () => mkdir(directory, { recursive: true }));
  const paths: string[] = [];
  for (const [name, content] of Object.entries(files)) {
    paths.push(join(directory, name));
    await writeFileAtomic(paths.at(-1)!, content);
  }
  return paths;
}
