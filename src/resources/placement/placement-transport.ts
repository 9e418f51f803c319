// How Placement is reached: one request with its answer. Tokens, endpoints and connections are the transport's matter.

export interface PlacementRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the root of the API. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

export interface PlacementAnswer {
  readonly status: number;
  /** Parsed; undefined where there is none. */
  readonly body: unknown;
}

export interface PlacementTransport {
  /** Any status is an answer, save 401 and 403: `UNAUTHORIZED`. Rejects with `PLACEMENT_FAILED` where there is none. */
  request(request: PlacementRequest, signal: AbortSignal): Promise<PlacementAnswer>;
  close(): Promise<void>;
}

/** Of the requests: consumers have types since 1.38. Placement of the release Xena and later speaks it. */
export const PLACEMENT_VERSION = '1.38';
