// The two halves of Nova's vocabulary side by side, and its rules for a term that stands in both.
import type { Flavor, ImageMeta } from '../../../driver/model.js';
import { type FlavorTerms, type NumaEntries, readFlavorTerms } from './flavor-terms.js';
import { type ImageTerms, readImageTerms } from './image-terms.js';
import { conflict } from './rule.js';

export interface Terms {
  readonly flavor: FlavorTerms;
  readonly image: ImageTerms;
  readonly flavorCpus: NumaEntries;
  readonly flavorMemory: NumaEntries;
  readonly imageCpus: NumaEntries;
  readonly imageMemory: NumaEntries;
}

export function readTerms(flavor: Pick<Flavor, 'extraSpecs'>, image: Pick<ImageMeta, 'properties'>): Terms {
  const ofFlavor = readFlavorTerms(flavor.extraSpecs);
  const ofImage = readImageTerms(image.properties);
  return {
    flavor: ofFlavor.terms,
    image: ofImage.terms,
    flavorCpus: ofFlavor.numaCpus,
    flavorMemory: ofFlavor.numaMemory,
    imageCpus: ofImage.numaCpus,
    imageMemory: ofImage.numaMemory,
  };
}

/** Either may say it; throws `FLAVOR_IMAGE_CONFLICT` where both do and differ. */
export function agreed<F extends keyof FlavorTerms & string, I extends keyof ImageTerms & string>(
  terms: Terms,
  flavorKey: F,
  imageKey: I,
): FlavorTerms[F] | ImageTerms[I] {
  const ofFlavor = terms.flavor[flavorKey];
  const ofImage = terms.image[imageKey];
  if (ofFlavor !== undefined && ofImage !== undefined && !Object.is(ofFlavor, ofImage)) {
    throw conflict(flavorKey, String(ofFlavor), imageKey, String(ofImage));
  }
  return ofFlavor ?? ofImage;
}

/** The image may only lower what the flavor allows. */
export function lowered<F extends keyof FlavorTerms & string, I extends keyof ImageTerms & string>(
  terms: Terms,
  flavorKey: F,
  imageKey: I,
): number | undefined {
  const limit = terms.flavor[flavorKey];
  const wanted = terms.image[imageKey];
  if (typeof limit === 'number' && typeof wanted === 'number' && wanted > limit) {
    throw conflict(flavorKey, String(limit), imageKey, String(wanted));
  }
  if (typeof wanted === 'number') return wanted;
  return typeof limit === 'number' ? limit : undefined;
}
