const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text that is safe as content and as a quoted attribute of HTML and SVG; control characters, which SVG forbids, become spaces. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => entities[sign]!).replace(/[^\P{Cc}\t\n\r]|[\ufffe\uffff]/gu, ' ');
}
