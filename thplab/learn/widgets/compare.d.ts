// One scenario on several kernels: compare.py. Lists by kernel have the order of `kernels`.

interface CompareData {
  name: string;
  about: string;
  /** what was asked for: a name, or operations */ source: string;
  scenario: string;
  kernels: string[];
  schemes: string[];
  geometry: string;
  problem: string;
  choices: { scenarios: string[]; kernels: string[]; geometries: string[] };
  /** how many kernels there can be */ most: number;
  /** one before the first operation, and one after each */ frames: CompareFrame[];
  /** one sheet for each kernel */ pictures: Sheets;
}

interface CompareFrame {
  label: string;
  groups: [string, CompareRow[]][];
  /** kernel and what is to be said of it */ remarks: [string, string][];
  /** kind, by kernel in this operation, by kernel in all so far */ costs: [string, number[], number[]][];
}

/** A fact: label, texts by kernel, whether each differs from the first, and whether the operation has changed it. */
type CompareRow = [string, string[], boolean[], boolean];

interface CompareAsks extends PictureAsks {
  compare: { scenario: string; kernels: string[]; geometry: string };
}
