// How a contender looks: the same in every chart, told apart also by those who see few colours (Okabe and Ito's palette).

const OWN = 'node-compute';
export const OWN_COLOUR = '#0072b2';
/** Bars of others stand back. */
export const OTHER_COLOUR = '#aab4be';

const COLOURS = {
  [OWN]: OWN_COLOUR,
  'bare-qemu': '#3d4852',
  C: '#009e73',
  '@unraid/libvirt': '#e69f00',
  virsh: '#8c6d31',
  Python: '#cc79a7',
  Nova: '#d55e00',
};
const SPARE = ['#56b4e9', '#882255', '#999933', '#000000'];
const DASHES = [undefined, '8 4', '2 3', '10 3 2 3', '14 4', '5 2'];

/** `Python, libvirtd` is of the family of `Python, in process`. */
const familyOf = (contender) => contender.split(',')[0];

export const isOwn = (contender) => familyOf(contender) === OWN;

/** Line of each contender, by name: a family has one colour, and its members differ in their dashes. */
export function lineStyles(contenders) {
  const members = new Map();
  const strangers = [...new Set(contenders.map(familyOf))].filter((family) => !(family in COLOURS));
  return new Map(
    [...new Set(contenders)].map((contender) => {
      const family = familyOf(contender);
      const member = members.get(family) ?? 0;
      members.set(family, member + 1);
      return [
        contender,
        {
          stroke: COLOURS[family] ?? SPARE[strangers.indexOf(family) % SPARE.length],
          // Dashes of many thick lines run into one another.
          'stroke-width': isOwn(contender) && member === 0 ? 3 : 2,
          'stroke-dasharray': DASHES[member % DASHES.length],
        },
      ];
    }),
  );
}
