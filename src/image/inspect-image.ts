// Whether a file is the image that it is declared to be, and safe to use.
import { callNative, type NativeImageVerdict } from '../native.js';
import { type ImageCallOptions, MOST_BYTES } from './image-options.js';

export type ImageVerdict = NativeImageVerdict;

export interface InspectImageOptions extends ImageCallOptions {
  /** What the file is declared to be; its content must have the signature of that format and of no other. */
  readonly format: string;
  /** Largest disk that is accepted, in bytes. Default 16 TiB. */
  readonly maxVirtualBytes?: number | undefined;
  /**
   * For what is to be read with a secret: accepts images that are encrypted by LUKS, of the formats `qcow2` and `luks`, and
   * nothing else. Default false: the rule `encrypted` refuses them.
   */
  readonly encrypted?: boolean | undefined;
}

/**
 * Inspects an image from elsewhere before anything else opens it; reads its metadata only. docs/images.md lists the rules.
 * Rejects with IMAGE_UNACCEPTABLE and the rule in `details.rule`, SYSTEM, ABORTED. Replaces Nova's format_inspector.
 */
export async function inspectImage(path: string, options: InspectImageOptions): Promise<ImageVerdict> {
  const limit = options.maxVirtualBytes ?? MOST_BYTES;
  const { format, encrypted = false, signal } = options;
  return await callNative(
    (addon, id) =>
      encrypted
        ? addon.inspectEncryptedImage(path, format, limit, id)
        : addon.inspectImage(path, format, limit, id),
    { operation: `inspection of ${path}`, signal },
  );
}
