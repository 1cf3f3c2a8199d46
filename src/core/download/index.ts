export { isAbsent, lookAtFile } from './absent.js';
export { consoleDownload, type DownloadStream } from './console-download.js';
export { downloadFile, type DownloadOptions } from './download-file.js';
export type { FileFormat } from './file-format.js';
export type { DownloadProgress } from './progress.js';
export { publishedFilePath, resolveReference, type PublishedFile, type ResolveReferenceOptions } from './resolve-reference.js';
