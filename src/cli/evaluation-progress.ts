import type { EvaluationProgress } from '../core/contracts/evaluation.js';
import { formatDuration, formatNumber } from '../core/format.js';

/** Where progress goes: standard error, or what stands for it. */
export interface ProgressStream {
  write(text: string): unknown;
  isTTY?: boolean;
}

/** Seconds between two lines where the stream is no terminal. */
const LINE_SECONDS = 15;

const overImages = (phase: EvaluationProgress['phase']) => phase === 'reference' || phase === 'images';

const lineOf = ({ phase, name, done, count, imagesPerSecond, remainingSeconds }: EvaluationProgress): string => {
  const left = remainingSeconds === undefined || done === count ? '' : `, ${formatDuration(remainingSeconds)} left`;
  if (!overImages(phase)) return `${phase}: ${name}${done > 0 && done < count ? `: ${Math.floor((100 * done) / count)} %${left}` : ''}`;
  const speed = imagesPerSecond > 0 ? `, ${formatNumber(imagesPerSecond, 3)} images/s` : '';
  return `${phase}: ${name}: ${formatNumber(done, 1)} of ${formatNumber(count, 1)}${speed}${left}`;
};

/** Shows how an evaluation goes: one line rewritten on a terminal, else a line at each beginning, end, and now and then. */
export function evaluationProgress(stream: ProgressStream = process.stderr): (progress: EvaluationProgress) => void {
  let shown = -Infinity;
  let former = '';
  return (progress) => {
    const { phase, name, done, count } = progress;
    const ends = done >= count;
    const key = `${phase} ${name}`;
    const now = performance.now();
    if (stream.isTTY === true) {
      if (!ends && key === former && now - shown < 100) return;
      stream.write(`${key !== former && former !== '' ? '\n' : '\r\x1b[2K'}${lineOf(progress)}`);
    } else if ((ends && overImages(phase)) || key !== former || now - shown >= LINE_SECONDS * 1000) stream.write(`${lineOf(progress)}\n`);
    else return;
    [shown, former] = [now, key];
    if (stream.isTTY === true && phase === 'page' && ends) stream.write('\n');
  };
}
