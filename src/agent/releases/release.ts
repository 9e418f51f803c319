// What differs from one release of Nova to the next, as data: another release is another table.

/**
 * 2026.x (service version 73, compute RPC 6.5) also sends to `compute-alt` topics, of builds that may go by an older
 * path: needed only by a host that claims that service version. A host that claims Zed's is served by both, as the
 * conductor sends back each object in the version that the host's table names.
 */
export interface NovaRelease {
  readonly name: string;
  /** `version` of the host's Service record: the conductor refuses one that is older than it supports. */
  readonly serviceVersion: number;
  /** Newest versions this release's host serves (`compute`) and may ask for. */
  readonly rpcVersions: {
    readonly compute: string;
    readonly conductor: string;
    readonly computeTask: string;
    readonly scheduler: string;
  };
  /** Of each object its version, then the objects that its fields hold. */
  readonly objects: Readonly<Record<string, readonly [version: string, ...holds: string[]]>>;
}

/** Version of every object below this one and of itself: `object_versions` of a call. Empty for one it does not have. */
export function objectVersions(release: NovaRelease, name: string): Record<string, string> {
  const versions: Record<string, string> = {};
  const visit = (object: string): void => {
    const entry = Object.hasOwn(release.objects, object) ? release.objects[object] : undefined;
    if (entry === undefined || Object.hasOwn(versions, object)) return;
    const [version, ...holds] = entry;
    versions[object] = version;
    for (const held of holds) visit(held);
  };
  visit(name);
  return versions;
}
