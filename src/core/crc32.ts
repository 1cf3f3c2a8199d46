import * as zlib from 'node:zlib';

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** The CRC-32 of zip and PNG, byte by byte, of bytes after those whose checksum is `before`; `crc32` does the same where Node has it no faster way. */
export function crc32InScript(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let k = 0; k < bytes.length; k++) crc = TABLE[(crc ^ bytes[k]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** The CRC-32 of zip (APPNOTE 4.4.7) and PNG (ISO/IEC 15948, 5.5); by zlib from Node 20.15 on, which is fifteen times as fast. */
export const crc32: (bytes: Uint8Array, before?: number) => number =
  (zlib as unknown as { crc32?: (bytes: Uint8Array, before?: number) => number }).crc32 ?? crc32InScript;
