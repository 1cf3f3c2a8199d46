import { expect, it } from 'vitest';
import { consoleDownload } from './console-download.js';
import { ProgressMeter, type DownloadProgress } from './progress.js';

const report = (bytes: number, more: Partial<DownloadProgress> = {}): DownloadProgress => ({
  file: 'w.pkl',
  bytes,
  total: 200_000_000,
  bytesPerSecond: 10_000_000,
  secondsLeft: (200_000_000 - bytes) / 10_000_000,
  done: false,
  ...more,
});

const recorder = (isTTY: boolean, columns?: number) => {
  const written: string[] = [];
  return { written, ...consoleDownload({ write: (text) => written.push(text), isTTY, ...(columns !== undefined && { columns }) }) };
};

it('rewrites one line on a terminal, and messages have lines of their own', () => {
  const { written, onProgress, onMessage } = recorder(true, 60);
  onProgress(report(50_000_000));
  onMessage('cut\x1b[2J; again');
  onProgress(report(200_000_000, { done: true }));
  expect(written).toEqual([
    '\r\x1b[2Kw.pkl   25%  50.0 MB of 200 MB  10.0 MB/s  15s left',
    '\r\x1b[2Kcut [2J; again\n',
    '\r\x1b[2Kw.pkl  downloaded 200 MB\n',
  ]);
});

it('never exceeds the width', () => {
  const { written, onProgress } = recorder(true, 30);
  onProgress(report(50_000_000, { file: 'a-very-long-name-of-a-file.safetensors' }));
  expect(written[0]!.replace('\r\x1b[2K', '').length).toBeLessThan(30);
});

it('writes a line a quarter in a log', () => {
  const { written, onProgress } = recorder(false);
  for (let bytes = 0; bytes < 200_000_000; bytes += 1_000_000) onProgress(report(bytes));
  onProgress(report(200_000_000, { done: true }));
  expect(written.map((line) => /(\d+%|downloaded)/.exec(line)![1])).toEqual(['0%', '25%', '50%', '75%', 'downloaded']);
  expect(written.every((line) => line.endsWith('\n') && !line.includes('\r'))).toBe(true);
});

it('ProgressMeter measures the speed of the last five seconds and what is left', () => {
  let time = 0;
  const reports: DownloadProgress[] = [];
  const meter = new ProgressMeter(
    'w',
    (progress) => reports.push(progress),
    () => time,
  );
  meter.begin(1_000, 11_000);
  time = 50;
  meter.update(1_100, 11_000); // too soon
  for (time = 1_000; time <= 10_000; time += 1_000) meter.update(1_000 + (time <= 5_000 ? 0 : time - 5_000), 11_000);
  expect(reports).toHaveLength(11);
  expect(reports[0]).toMatchObject({ bytes: 1_000, bytesPerSecond: 0, secondsLeft: undefined });
  expect(reports.at(-1)).toMatchObject({ bytes: 6_000, bytesPerSecond: 1_000, secondsLeft: 5 });
  meter.update(11_000, 11_000, true);
  expect(reports.at(-1)).toMatchObject({ done: true, bytes: 11_000 });
});
