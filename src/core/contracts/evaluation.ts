/**
 * What an evaluation leaves: plain JSON.
 */

/** One value of a metric over the seeds. */
export interface MetricSummary {
  /** Over the seeds. */
  mean: number;
  /** Standard deviation over the seeds, divided by their number; 0 for one seed. */
  spread: number;
  min: number;
  max: number;
  /** One for each seed, in order. */
  values: number[];
  /** Name of the extractor that it is computed with. */
  extractor: string;
  /** Which way is better; undefined for what says how sure another value is. */
  better?: 'lower' | 'higher';
}

/** What generated images were compared with. */
export interface ReferenceSummary {
  /** `statistics`: mean and covariance alone; `features`: a features file; `data`: images. */
  kind: 'statistics' | 'features' | 'data';
  name: string;
  /** Images behind it; undefined where the file does not say. */
  images?: number;
  /** Of `images`, those whose features are kept for the metrics that need them; undefined: all, or none. */
  kept?: number;
  /** Digest of the file, or of what the set says of itself and of images spread over it. */
  identity: string;
}

/** The images of the reference that are most like generated ones, as a trace of memorisation. */
export interface NearestSummary {
  extractor: string;
  /** Generated images that were looked at, from number 0 of the first seed on. */
  checked: number;
  /** Images of the reference that they were compared with. */
  references: number;
  /** Median of the distances of generated images to the nearest reference image, in feature space. */
  median: number;
  /** The same of as many reference images to the nearest other one: much above `median` means that training images are repeated. */
  medianOfReferences: number;
  /** The nearest first. */
  rows: { image: number; matches: { reference: number; distance: number }[] }[];
}

/** The result of `evaluate`, and the content of evaluation.json. */
export interface Evaluation {
  format: 'onestep-evaluation';
  version: 1;
  subject: {
    kind: 'student' | 'teacher' | 'data';
    name: string;
    /** Digest of architecture, weights and sampler, or of the set. */
    identity: string;
    resolution: number;
    channels: number;
    /** Network evaluations an image. */
    evaluations?: number;
  };
  /** Images of each seed. */
  images: number;
  seeds: number[];
  /** By name: `fid`, `kid`, `is`, `clip_fid`, `fd_dinov2`, `precision`, … */
  metrics: Record<string, MetricSummary>;
  extractors: { name: string; dimensions: number; identity?: string; reference?: ReferenceSummary }[];
  nearest?: NearestSummary;
  /** What to know when comparing these figures with others. */
  notes: string[];
  versions: { onestep: string; node: string; engine: string };
  /** How it was called, where that is known. */
  command?: string;
  /** ISO 8601. */
  started: string;
  finished: string;
  /** Of work, those of interrupted processes included. */
  seconds: number;
}

/** How far an evaluation is. */
export interface EvaluationProgress {
  /** `reference`, `images`: passes over images; `metrics`, `page`: what comes after them. */
  phase: 'reference' | 'images' | 'metrics' | 'page';
  /** Of the set or seed in work, such as `seed 1 of 3`, or of the metric. */
  name: string;
  /** Images of this pass; of a metric, parts of its work. */
  done: number;
  count: number;
  /** Over this process; 0 before the first batch, and where no images are looked at. */
  imagesPerSecond: number;
  /** Estimate for this pass or metric; undefined before its first part is done. */
  remainingSeconds?: number;
}
