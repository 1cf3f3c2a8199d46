export { describeDataset, type DatasetSummary } from './describe-dataset.js';
export { makeDataset, type MadeDataset, type MakeDatasetOptions, type MakingProgress } from './make-dataset.js';
