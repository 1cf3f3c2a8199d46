export * from './analysis/index.js';
export { convert, type Conversion, type ConvertOptions } from './convert.js';
export { distill, type Distilled } from './distill.js';
export type { DistillOptions } from './distillation.js';
export { readBest, type BestMetric, type BestSnapshot } from './best-snapshot.js';
export { EVALUATOR, type Evaluator } from './evaluator.js';
export { intervalsSchema, runSchema, scheduleSchema, type RunSettings } from './run-options.js';
export type { GeneratedImages } from './numbered-images.js';
export { loadStudent, Student, type GenerateOptions } from './student.js';
export { teacherImages, type TeacherImagesOptions } from './teacher-images.js';
export { trainTeacher, type TrainedTeacher, type TrainTeacherOptions } from './train-teacher.js';
export { stopOnSignals } from './signals.js';
export * from './evaluate/index.js';
export { formatParity, parity, type ParityOptions, type ParityRow } from './parity/index.js';
export { planDistillation, type DistillationPlan, type PlannedMemory } from './plan.js';
export { formatPlan, formatPresets } from './plan-table.js';
export { describePreset, presets, type Preset, type PresetOptions } from './presets.js';
export type { PresetFeatureWeights } from './preset-parts.js';
export { presetTable, type PresetFeatures, type PresetName, type PresetRow } from './preset-table.js';
export {
  describeDataset,
  makeDataset,
  type DatasetSummary,
  type MadeDataset,
  type MakeDatasetOptions,
  type MakingProgress,
} from './dataset/index.js';
