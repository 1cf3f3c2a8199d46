/**
 * An analysis of activations as pictures.
 */
import { decibels } from '../../metrics/radial-spectrum.js';
import { heatMap, type HeatMapPanel, type HeatMapScale } from '../../sinks/heat-map.js';
import { lineChart } from '../../sinks/line-chart.js';
import { sideBySide } from '../../sinks/side-by-side.js';
import type { ActivationAnalysis, LayerActivations, PlainSpectrum } from './analyze-activations.js';
import { activationChange, activationsOf, relativeToPeak, rowsOf, type ActivationMeasure } from './compare.js';

/** Options of `activationHeatMap`. */
export interface ActivationHeatMapOptions {
  /** Default `block`: the residual blocks; `layer`: every convolution. */
  rows?: LayerActivations['kind'];
  /** Default `contribution` of blocks, `rms` of layers. */
  measure?: ActivationMeasure;
}

const titles: Record<ActivationMeasure, string> = {
  rms: 'RMS activation',
  meanAbsolute: 'Mean magnitude',
  contribution: 'Contribution of the residual branch',
};

/**
 * Rows of the network over noise levels: one map for each network, each row relative to its own largest value, then what each network
 * changed against the first one. A dot stands before rows with the first network's weights, as freezing keeps them.
 */
export function activationHeatMap(analysis: ActivationAnalysis, options: ActivationHeatMapOptions = {}): string {
  const { rows: kind = 'block', measure = kind === 'block' ? 'contribution' : 'rms' } = options;
  const { networks, sigmas } = analysis;
  const [first, ...others] = networks.map((network) => ({ name: network.name, rows: rowsOf(network, kind) }));

  const share: HeatMapScale = { kind: 'sequential', low: 0, high: 1, label: 'relative to the largest of its row' };
  const panels: HeatMapPanel[] = [first!, ...others].map(({ name, rows }) => ({
    title: name,
    scale: share,
    values: rows.map((layer) => relativeToPeak(activationsOf(layer, measure))),
  }));
  const changes = others.map(({ rows }) => rows.map((layer, k) => activationChange(first!.rows[k]!, layer, measure)));
  const largest = changes.flat(2).reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);
  const limit = Math.max(0.25, Math.ceil(largest * 4) / 4);
  const change: HeatMapScale = { kind: 'diverging', low: -limit, high: limit, label: `log2 of the ratio to ${first!.name}` };
  others.forEach(({ name, rows }, k) =>
    panels.push({ title: `${name} / ${first!.name}`, scale: change, values: changes[k]!, marks: rows.map(({ unchanged }) => unchanged) }),
  );

  const kept = others.some(({ rows }) => rows.some(({ unchanged }) => unchanged));
  const dots = kept ? [`dots: the weights are those of ${first!.name}`] : [];
  const counted = `${analysis.images} images of ${analysis.data} at ${sigmas.length} noise levels`;
  return heatMap({
    title: `${titles[measure]}, ${kind === 'block' ? 'block by block' : 'layer by layer'}`,
    subtitle: [counted, ...dots].join('; '),
    rows: first!.rows.map((layer) => ({
      label: layer.name.replace(/^model\./, ''),
      group: groupOf(layer),
    })),
    columns: sigmas.map(String),
    xLabel: 'sigma',
    panels,
    // Many networks side by side take narrower cells.
    cellWidth: panels.length > 3 ? 13 : 18,
  });
}

/** Where in the U-Net a row stands: by the names of EDM's and DDPM's networks. */
function groupOf({ name, resolution }: LayerActivations): string {
  const part = /^(?:model\.)?(?:enc\.|down_blocks\.|conv_in)/.test(name) ? 'encoder' : /^mid_block\./.test(name) ? 'middle' : 'decoder';
  return `${part}, ${resolution} px`;
}

/** Noise levels that are drawn where all would be too many: the first, the last and those between at even distances. */
export function spreadIndices(count: number, wanted: number): number[] {
  if (count <= wanted) return Array.from({ length: count }, (_, k) => k);
  return Array.from({ length: wanted }, (_, k) => Math.round((k * (count - 1)) / (wanted - 1)));
}

/**
 * The radial spectra of the outputs, in dB over cycles per pixel: one chart for each network, side by side, with up to five noise levels and
 * the real images in each. `spectrumHeatMap` has all levels.
 */
export function spectrumCharts({ networks, sigmas, real, images }: ActivationAnalysis): string {
  const shown = spreadIndices(sigmas.length, 5);
  const curve = ({ frequencies, power }: PlainSpectrum) =>
    frequencies.slice(1).map((frequency, ring) => ({ x: frequency, y: decibels(power[ring + 1]!) }));
  const range = [real, ...networks.flatMap(({ spectra }) => shown.map((s) => spectra[s]!))].flatMap((spectrum) =>
    curve(spectrum).map(({ y }) => y),
  );
  return sideBySide(
    networks.map(({ name, spectra }) =>
      lineChart({
        title: `Spectrum of D(x, sigma), ${name}`,
        subtitle: `mean power of ${images} images; white noise of variance 1 has 0 dB`,
        xLabel: 'cycles per pixel',
        yLabel: 'power, dB',
        yRange: range,
        endValues: false,
        width: 460,
        height: 360,
        series: [
          ...shown.map((s) => ({ name: `sigma ${sigmas[s]}`, points: curve(spectra[s]!) })),
          { name: 'real', points: curve(real), markers: true },
        ],
      }),
    ),
  );
}

/**
 * The radial spectra of the outputs at every noise level against the real images': rows of frequencies over noise levels, a map for each network.
 * A cell is 10 log10 of the ratio of the powers, in dB: above 0 the outputs have more of that frequency than real images, below 0 less.
 */
export function spectrumHeatMap({ networks, sigmas, real, images, data }: ActivationAnalysis): string {
  const panels = networks.map(({ name, spectra }) => ({
    title: name,
    values: real.frequencies.map((_, ring) => spectra.map(({ power }) => decibels(power[ring]! / real.power[ring]!))),
  }));
  const largest = panels.reduce((most, { values }) => Math.max(most, ...values.flat().filter(Number.isFinite).map(Math.abs)), 0);
  const limit = Math.max(1, Math.ceil(largest));
  const scale: HeatMapScale = { kind: 'diverging', low: -limit, high: limit, label: 'dB above real images' };
  return heatMap({
    title: 'Spectrum of D(x, sigma) against real images',
    subtitle: `${images} images of ${data} at ${sigmas.length} noise levels; rows: cycles per pixel, 0 is the mean colour`,
    rows: real.frequencies.map((frequency) => ({ label: String(Number(frequency.toFixed(4))) })),
    columns: sigmas.map(String),
    xLabel: 'sigma',
    panels: panels.map((panel) => ({ ...panel, scale })),
  });
}
