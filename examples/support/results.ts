/** What the distilling examples leave and print at their end. */
import { join } from 'node:path';
import { writeFileAtomic, type Student } from 'onestep';
import { comparisonPicture, type Comparison } from './compare.js';

interface Results {
  runDir: string;
  student: Student;
  comparison: Comparison;
  /** For report.json, before the figures of the comparison. */
  report: { backend: string; seconds: number; images: number };
  /** Images a second of the distillation; those of earlier processes are counted too. */
  training: number;
  frozenShare: number;
}

/** Writes student.safetensors, comparison.png and report.json; prints the table and where to look. */
export async function writeResults({ runDir, student, comparison, report, training, frozenShare }: Results): Promise<void> {
  await student.save(join(runDir, 'student.safetensors'));
  await writeFileAtomic(join(runDir, 'comparison.png'), comparisonPicture(comparison));
  const whole = {
    ...report,
    frechet: comparison.frechet,
    imagesPerSecond: { training, ...comparison.imagesPerSecond },
    frozenShare,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  await writeFileAtomic(join(runDir, 'report.json'), `${JSON.stringify(whole, null, 2)}\n`);
  console.log(comparison.table);
  console.log(`${report.seconds.toFixed(0)} s; see ${join(runDir, 'report.html')} and ${join(runDir, 'comparison.png')}`);
}
