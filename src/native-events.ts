// Events of running guests as the addon gives them, with libvirt's numbers.
import type { NativeStatistics } from './native-domain.js';

interface OfDomain {
  readonly uuid: string;
  readonly name: string;
  readonly timestamp: number;
}

export type NativeGuestEvent =
  | (OfDomain & {
      readonly type: 'io-error';
      readonly path: string;
      readonly alias: string;
      /** virDomainEventIOErrorAction. */
      readonly action: number;
      readonly reason: string;
    })
  /** virDomainEventWatchdogAction. */
  | (OfDomain & { readonly type: 'watchdog'; readonly action: number })
  | (OfDomain & {
      readonly type: 'agent';
      /** virConnectDomainEventAgentLifecycleState. */
      readonly state: number;
      /** virConnectDomainEventAgentLifecycleReason. */
      readonly reason: number;
    })
  /** By VIR_DOMAIN_JOB_*. */
  | (OfDomain & { readonly type: 'job-completed'; readonly statistics: NativeStatistics })
  | (OfDomain & { readonly type: 'balloon'; readonly memoryKib: number })
  | (OfDomain & {
      readonly type: 'block-threshold';
      /** Of a part of the disk's chain: `vda[1]`. */
      readonly disk: string;
      readonly path: string;
      readonly threshold: number;
      readonly excess: number;
    });
