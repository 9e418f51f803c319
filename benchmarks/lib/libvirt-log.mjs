// libvirt's debug log of a start, cut into phases. The messages are those of libvirt 9 to 11; a phase whose messages
// another version words differently is left out, and counts as the rest.

/** For log_filters: what the phases need and little more, since every line takes time from what is measured. */
export const LOG_FILTERS = '1:qemu.qemu_process 2:qemu.qemu_monitor';

const START = /qemuProcessStart:/;

/** Each ends where the next begins. */
const PHASES = [
  ['libvirt: checks and preparation', START],
  ['libvirt: fork', /Building mount namespace$/],
  ['libvirt: mount namespace', /Building domain mount namespace/],
  ['libvirt: cgroups, limits', /Setting up domain cgroup/],
  ['libvirt: owner of files', /Setting domain security labels/],
  ['QEMU: exec to QMP', /Labelling done/],
  ['QEMU: questions of libvirt', /RECV_REPLY: .*"id": "libvirt-1"/],
  ['QEMU: cont', /SEND_MSG: .*"execute":"cont"/],
  ['libvirt: status', /RECV_REPLY: .*"id": "libvirt-\d+"/],
  [undefined, /Writing domain status to disk|qemuProcessFinishStartup/],
];

/** Milliseconds by phase, one object a start. Timestamps are whole milliseconds: look at means, not at one start. */
export function startsOf(text) {
  const starts = [];
  let marks;
  for (const line of text.split('\n')) {
    const time = /^\d{4}-\d\d-\d\d (\d\d):(\d\d):(\d\d\.\d+)/.exec(line);
    if (!time) continue;
    const ms = ((Number(time[1]) * 60 + Number(time[2])) * 60 + Number(time[3])) * 1000;
    if (START.test(line)) {
      marks = [ms];
      starts.push(marks);
    } else if (marks?.length < PHASES.length && PHASES[marks.length][1].test(line)) {
      marks.push(ms);
    }
  }
  return starts
    .filter((marks) => marks.length === PHASES.length)
    .map((marks) =>
      Object.fromEntries(PHASES.slice(0, -1).map(([name], at) => [name, marks[at + 1] - marks[at]])),
    );
}
