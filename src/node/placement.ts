// Placement over HTTP: the transport of its sink.
import { PlacementSink, type PlacementSinkOptions } from '../resources/placement/placement-sink.js';
import { PLACEMENT_VERSION, type PlacementTransport } from '../resources/placement/placement-transport.js';
import { type ServiceAccess, ServiceTransport } from './service-transport.js';

export interface PlacementOptions extends PlacementSinkOptions, ServiceAccess {}

/** For {@link ReporterOptions.sinks}. Throws `INVALID_ARGUMENT`; asks nobody before the first report. */
export function placementSink(options: PlacementOptions): PlacementSink {
  return new PlacementSink(placementTransport(options), options);
}

/** As {@link placementSink}. */
export function placementTransport(options: PlacementOptions): PlacementTransport {
  const service = {
    name: 'Placement',
    type: 'placement',
    failure: 'PLACEMENT_FAILED',
    headers: { 'openstack-api-version': `placement ${PLACEMENT_VERSION}` },
  } as const;
  return new ServiceTransport(service, options);
}
