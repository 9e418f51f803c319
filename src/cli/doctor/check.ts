// What a check of this host says, and the words all checks share.
export type Verdict = 'ok' | 'warning' | 'problem';

export interface Finding {
  readonly check: string;
  /** `problem`: nothing can be launched; `warning`: it can, with less speed, safety or function. */
  readonly verdict: Verdict;
  readonly message: string;
  /** The command that mends it. */
  readonly mend?: string;
}

/** What the checks look at; from the flags of the command. */
export interface DoctorSubject {
  readonly instancesPath: string;
  readonly root: string;
  /** False where a libvirt URI is used: the root and its defences are then the daemon's affair. */
  readonly embedded: boolean;
}

export type Check = (subject: DoctorSubject) => Finding[] | Promise<Finding[]>;

export function ok(check: string, message: string): Finding {
  return { check, verdict: 'ok', message };
}

export function warning(check: string, message: string, mend?: string): Finding {
  return { check, verdict: 'warning', message, ...(mend !== undefined && { mend }) };
}

export function problem(check: string, message: string, mend?: string): Finding {
  return { check, verdict: 'problem', message, ...(mend !== undefined && { mend }) };
}

/** The same package in both families of distributions. */
export function install(debian: string, fedora: string): string {
  return `Debian, Ubuntu: apt-get install ${debian}; Fedora: dnf install ${fedora}`;
}
