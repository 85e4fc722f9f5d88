// The page tables of a state: walker_payload.py. Addresses and entries are hexadecimal texts: they have more bits than JSON's numbers.

interface WalkerData {
  /** from the top: name, shift, bits of its index */ levels: [string, number, number][];
  pageShift: number;
  /** what an entry of each level spans, in words */ sizes: string[];
  /** numbers that are no addresses: first, last (null: no end), why */ refused: [string, string | null, string][];
  /** what is said of a hole: in a VMA, outside */ holes: string[];
  processes: WalkerProcess[];
  /** by pfn: level and runs of entries */ tables: Record<string, [number, EntryRun[]]>;
  /** by level, the words of an empty entry */ empty: number[];
  /** what an entry says, what is said where a walk ends there, and its list of fields */ words: [string, string, number][];
  fields: EntryField[][];
  kernel: string;
  geometry: string;
  scenario: string;
}

interface WalkerProcess {
  name: string;
  /** the pfn of its top table */ pgd: number;
  /** start, end, protection */ vmas: [string, string, string][];
  /** label and address */ places: [string, string][];
}

/** Entries [start, stop): the first one, what each next one adds to the pfn, its kind, its words, and the head of the compound page. */
type EntryRun = [number, number, string, number, string, number, number];

/** Bits of an entry: name, highest, lowest, what they mean. */
type EntryField = [string, number, number, string];
