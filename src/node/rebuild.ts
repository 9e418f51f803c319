// Rebuild of an instance of this node: another image, or the same one anew, under the uuid, flavor and addresses it has.
import { isDeepStrictEqual } from 'node:util';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { imageSchema, nameText } from '../driver/image-schema.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import { closedObject } from '../driver/schema.js';
import { topologyRequest } from '../resources/topology-request.js';
import { type ConfigDriveWish, configDriveSchema } from './config-drive-request.js';
import { checkFlavorHoldsImage, diskClaimGb, parseRequest } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate, SHUTDOWN_MS } from './operation.js';
import { CHANGE_TIMEOUT_MS, checkChangeable } from './rescue.js';
import { changeInstance } from './settle-change.js';
import type { RebuildNodeOptions, RebuildRequest } from './types.js';

interface ParsedRebuild {
  readonly image: ImageMeta;
  readonly name?: string;
  readonly configDrive?: ConfigDriveWish;
  readonly preserveEphemeral: boolean;
}

const requestSchema: v.GenericSchema<unknown, ParsedRebuild> = closedObject({
  image: imageSchema,
  name: v.exactOptional(nameText),
  configDrive: v.exactOptional(configDriveSchema),
  preserveEphemeral: v.optional(v.boolean(), false),
});

/**
 * What is claimed of the disk is that of the larger of the two images until it is done, then of the new one; it differs
 * only where the flavor leaves the size of the root disk to the image.
 */
export async function rebuildInstance(
  context: NodeContext,
  uuid: string,
  request: RebuildRequest,
  options: RebuildNodeOptions,
): Promise<void> {
  const { image, name, configDrive, preserveEphemeral } = parseRequest(requestSchema, request, 'rebuild');
  const { driver, tracker, forceConfigDrive } = context;
  const { shutdownTimeoutMs = SHUTDOWN_MS, onProgress } = options;
  const rules = { task: 'rebuild', options, timeoutMs: CHANGE_TIMEOUT_MS + shutdownTimeoutMs };
  await operate(context, uuid, rules, async (known, { signal }) => {
    const { instance } = known;
    checkFlavorHoldsImage(uuid, instance.flavor, image, 'rebuild');
    checkTopology(instance, image);
    const runs = await checkChangeable(context, known, 'rebuild', signal);
    const forced = forceConfigDrive || image.properties['img_config_drive'] === 'mandatory';
    const format = configDrive?.format ?? instance.configDrive ?? (forced ? 'openstack' : undefined);
    const displayName = name ?? instance.displayName;
    const drive = format && { configDrive: format };
    const next: Instance = { ...instance, image, displayName, ...drive };
    const diskGb = diskClaimGb(next);
    tracker.claimDisk(uuid, Math.max(diskGb, known.diskGb));
    try {
      const change = { kind: 'rebuild', image, displayName, ...drive, diskGb, runs } as const;
      await changeInstance(context, known, change, async (switched) => {
        await driver.rebuild(next, image, {
          signal,
          shutdownTimeoutMs,
          preserveEphemeral,
          onProgress,
          configDrive: configDrive?.content,
          onStep: async (step) => {
            if (step === 'definition') await switched();
          },
        });
      });
    } finally {
      tracker.claimDisk(uuid, known.diskGb);
    }
  });
}

/** It stays on the cells and CPUs that its claim gave it: Nova's ImageNUMATopologyRebuildConflict. */
function checkTopology({ uuid, flavor, image: before }: Instance, { id, properties }: ImageMeta): void {
  const asked = topologyRequest(flavor, properties);
  if (isDeepStrictEqual(asked, topologyRequest(flavor, before.properties))) return;
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `rebuild: image ${id} asks for other NUMA cells, CPUs or pages than instance ${uuid} has; launch a new one`,
    { operation: 'rebuild', instanceUuid: uuid },
  );
}
