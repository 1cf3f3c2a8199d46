export { ActivationRecorder, type ActivationLevel, type LayerPlace } from './activation-recorder.js';
export {
  analyzeActivations,
  type ActivationAnalysis,
  type ActivationOptions,
  type AnalysedNetwork,
  type LayerActivations,
  type NetworkActivations,
  type PlainSpectrum,
} from './analyze-activations.js';
export {
  activationChange,
  activationsOf,
  relativeToPeak,
  summarizeActivations,
  type ActivationMeasure,
  type ActivationSummary,
} from './compare.js';
export { activationHeatMap, spectrumCharts, spectrumHeatMap, type ActivationHeatMapOptions } from './figures.js';
export { activationsCsv, formatActivations, spectraCsv, spectralDistance } from './table.js';
export { writeActivationAnalysis } from './files.js';
