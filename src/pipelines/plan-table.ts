/**
 * Plans and recipes as text.
 */
import { formatBytes } from '../core/format.js';
import type { DistillationPlan } from './plan.js';
import { presetTable, type PresetRow } from './preset-table.js';

const whole = (value: number) => value.toLocaleString('en-US');
const share = (part: number) => `${(100 * part).toFixed(1)}%`;

/** Columns as wide as their widest cell. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** A plan as a table, one fact a line. */
export function formatPlan(plan: DistillationPlan): string {
  const { name, teacher, network, freeze, discriminator, images, batchSize, microBatch, iterations, updates, memory, missing, notes } =
    plan;
  const { img_resolution: size, img_channels: channels, label_dim: classes } = network;
  const from = teacher.architecture === 'file' ? 'architecture read from it' : 'not on this machine; architecture as published';
  const parts = (['weights', 'optimizer', 'averages', 'gradients', 'activations'] as const).map(
    (part) => [`  ${part}`, formatBytes(memory[part])] as const,
  );
  const rows: (readonly [string, string])[] = [
    ['teacher', `${teacher.name} (${from})`],
    ['network', `${network.model_type}, ${size} x ${size} x ${channels}, ${classes > 0 ? `${whole(classes)} classes` : 'unconditional'}`],
    ['generator', `${whole(freeze.total)} parameters`],
    ['  frozen', `${whole(freeze.frozen)} (${share(freeze.frozenShare)}), ${freeze.policy}`],
    ['  trained', whole(freeze.trained)],
    ['discriminator', discriminator ? `${discriminator.name}, ${whole(discriminator.trained)} trained` : 'none yet'],
    [
      'images',
      `${whole(images)}: ${whole(iterations)} iterations of ${batchSize}${microBatch < batchSize ? `, in micro-batches of ${microBatch}` : ''}`,
    ],
    ...updates.map(
      ({ stage, every, updates: count }) => [`  ${stage}`, `${whole(count)} updates${every > 1 ? `, every ${every}` : ''}`] as const,
    ),
    ['memory', `${formatBytes(memory.total)} of tensors at the peak, in the stage ${largestStage(plan)}`],
    ...parts,
    ...notes.map((note) => ['note', note] as const),
    ...missing.map((line) => ['missing', line] as const),
  ];
  return [name, ...columns(rows)].join('\n');
}

const largestStage = ({ memory: { stages } }: DistillationPlan) => stages.reduce((a, b) => (b.bytes > a.bytes ? b : a)).stage;

/** The recipes, a row each. */
export function formatPresets(): string {
  const rows = Object.entries(presetTable as Record<string, PresetRow>).map(([name, row]) => [
    name,
    row.teacher,
    row.features.join(', '),
    `${row.learningRates.generator.toExponential()} / ${row.learningRates.discriminator.toExponential()}`,
    String(row.batchSize),
    `${row.images / 1e6} M`,
    `${row.r1.gamma.toExponential()}, every ${row.r1.every}`,
    `${row.emaHalfLife / 1e6} M`,
  ]);
  const header = ['preset', 'teacher', 'feature networks', 'lr G / D', 'batch', 'images', 'R1 gamma', 'EMA half-life'];
  return columns([header, ...rows]).join('\n');
}
