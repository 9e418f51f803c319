// What Neutron answers, as far as a compute host reads it.
import * as v from 'valibot';

type Facts = Readonly<Record<string, unknown>>;

export interface Port {
  readonly id: string;
  readonly network_id: string;
  readonly tenant_id: string;
  readonly mac_address: string;
  /** Of the instance that has it; empty: of none. */
  readonly device_id: string;
  readonly status: string;
  readonly admin_state_up: boolean;
  readonly fixed_ips: readonly { readonly subnet_id: string; readonly ip_address: string }[];
  readonly dns_name?: string | null | undefined;
  readonly resource_request?: unknown;
  /** Null or empty: bound to none. */
  readonly 'binding:host_id'?: string | null | undefined;
  /** What the host is to plug in; `binding_failed`, `unbound`. */
  readonly 'binding:vif_type'?: string | null | undefined;
  readonly 'binding:vif_details'?: Facts | null | undefined;
  readonly 'binding:vnic_type': string;
  readonly 'binding:profile'?: Facts | null | undefined;
}

export interface Network {
  readonly id: string;
  readonly name: string;
  readonly tenant_id: string;
  readonly mtu?: number | null | undefined;
  readonly subnets: readonly string[];
  readonly shared: boolean;
  readonly dns_domain?: string | null | undefined;
  readonly port_security_enabled: boolean;
  readonly 'router:external': boolean;
  readonly 'provider:physical_network'?: string | null | undefined;
  readonly 'provider:network_type'?: string | null | undefined;
}

export interface Subnet {
  readonly id: string;
  readonly cidr: string;
  readonly gateway_ip?: string | null | undefined;
  readonly enable_dhcp: boolean;
  readonly ipv6_address_mode?: string | null | undefined;
  readonly dns_nameservers: readonly string[];
  readonly host_routes: readonly { readonly destination: string; readonly nexthop: string }[];
}

export interface FloatingIp {
  readonly floating_ip_address: string;
  readonly fixed_ip_address?: string | null | undefined;
  readonly port_id?: string | null | undefined;
}

export interface Named {
  readonly id: string;
  readonly name: string;
}

const text = v.pipe(v.string(), v.maxLength(4096));
const facts = v.nullish(v.record(v.string(), v.unknown()));

export const portSchema: v.GenericSchema<unknown, Port> = v.object({
  id: v.pipe(text, v.uuid()),
  network_id: v.pipe(text, v.uuid()),
  tenant_id: text,
  mac_address: text,
  device_id: text,
  status: text,
  admin_state_up: v.boolean(),
  fixed_ips: v.array(v.object({ subnet_id: text, ip_address: v.pipe(text, v.ip()) })),
  dns_name: v.nullish(text),
  resource_request: v.nullish(v.unknown()),
  'binding:host_id': v.nullish(text),
  'binding:vif_type': v.nullish(text),
  'binding:vif_details': facts,
  'binding:vnic_type': v.optional(text, 'normal'),
  'binding:profile': facts,
});

export const networkSchema: v.GenericSchema<unknown, Network> = v.object({
  id: v.pipe(text, v.uuid()),
  name: text,
  tenant_id: text,
  mtu: v.nullish(v.number()),
  subnets: v.optional(v.array(text), []),
  shared: v.optional(v.boolean(), false),
  dns_domain: v.nullish(text),
  port_security_enabled: v.optional(v.boolean(), true),
  'router:external': v.optional(v.boolean(), false),
  'provider:physical_network': v.nullish(text),
  'provider:network_type': v.nullish(text),
});

export const subnetSchema: v.GenericSchema<unknown, Subnet> = v.object({
  id: text,
  cidr: v.pipe(text, v.regex(/^[\da-f.:]+\/\d{1,3}$/i)),
  gateway_ip: v.nullish(v.pipe(text, v.ip())),
  enable_dhcp: v.optional(v.boolean(), false),
  ipv6_address_mode: v.nullish(text),
  dns_nameservers: v.optional(v.array(text), []),
  host_routes: v.optional(v.array(v.object({ destination: text, nexthop: text })), []),
});

export const floatingIpSchema: v.GenericSchema<unknown, FloatingIp> = v.object({
  floating_ip_address: text,
  fixed_ip_address: v.nullish(text),
  port_id: v.nullish(text),
});
export const namedSchema: v.GenericSchema<unknown, Named> = v.object({ id: text, name: text });
