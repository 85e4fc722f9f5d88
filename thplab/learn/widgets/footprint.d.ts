// What each kernel holds of a population of huge pages: footprint.py.

interface FootprintData extends Footprint {
  controls: Control[];
  /** kernel and why it holds what it holds */ reasons: [string, string][];
  /** in a page without Python: the positions that it has */ grid?: Footprint[];
}

/** One position of the sliders. */
interface Footprint {
  values: Population;
  /** kernel, and its shares held and mapped of what was mapped at first */ bars: [string, number, number][];
  /** heading, and a row for each kernel */ table: string[][];
  words: string;
}

interface Population {
  thps: number;
  unmapped: number;
  pattern: string;
  pressure: number;
  sharing: number;
  unmapping: number;
  pinned: number;
  zero_filled: number;
}

/** A slider, or a choice where it has options. */
interface Control {
  name: string;
  label: string;
  min?: number;
  max?: number;
  step?: number;
  percent?: boolean;
  options?: string[];
}

interface FootprintAsks {
  move: Population;
}
