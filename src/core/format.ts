/**
 * Numbers as people read them, in English notation whatever the machine's locale.
 */

/** `1,234`, `12.3`, `0.0123`, `4.56e-7`: about `digits` significant figures. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9))
    return value
      .toExponential(digits - 2)
      .replace(/\.?0+e/, 'e')
      .replace('e+', 'e');
  const decimals = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return withThousands(value.toFixed(decimals));
}

/** Thousands of images, the papers' unit: `5,000`, `12.8`, `0.064`; to a tenth from 100 kimg on, to one image below 10. */
export function formatKimg(images: number): string {
  const kimg = images / 1000;
  return withThousands(String(Number(kimg.toFixed(kimg >= 100 ? 1 : kimg >= 10 ? 2 : 3))));
}

/** `45s`, `12m 05s`, `3h 07m`, `2d 04h`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const total = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(total / 86400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  if (days > 0) return `${days}d ${two(hours)}h`;
  if (hours > 0) return `${hours}h ${two(minutes)}m`;
  if (minutes > 0) return `${minutes}m ${two(total % 60)}s`;
  return `${total}s`;
}

/** `812 B`, `45.1 kB`, `224 MB`, `1.18 GB`: decimal units, three figures. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return '?';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = Math.max(0, bytes);
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${withThousands(unit === 0 ? String(Math.round(value)) : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(1, value))))))} ${units[unit]}`;
}

function withThousands(digits: string): string {
  const [whole, fraction] = digits.split('.');
  const grouped = whole!.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}
