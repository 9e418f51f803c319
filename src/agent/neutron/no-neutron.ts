// Of an agent that has been told of no Neutron.
import { ComputeError } from '../../driver/errors.js';

export function noNeutron(instanceUuid: string): ComputeError {
  return new ComputeError(
    'UNSUPPORTED',
    `instance ${instanceUuid} is to have networks of Neutron, which this host does not have; boot it with the networks "none", or on a host that has them`,
    { operation: 'networks', instanceUuid },
  );
}
