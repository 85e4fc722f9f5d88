// What a race stepper shows of the race so far: race_payload.py.

interface RaceData {
  name: string;
  about: string;
  /** where the race is from */ source: string;
  kernel: string;
  geometry: string;
  /** the operations before the race */ prepare: string;
  /** what each CPU does */ cpus: string[];
  invariants: Invariant[];
  /** the race so far as a line that can be loaded */ line: string;
  frames: RaceFrame[];
  /** one sheet, with a picture for each frame */ pictures: Sheets;
  /** a schedule that fails can be asked for */ finds: boolean;
}

interface RaceFrame {
  /** who made the step; null at the start */ cpu: number | null;
  text: string;
  why: string;
  routine: string;
  words: string;
  /** for each CPU what it would do next, and its step in words */ ahead: ["moves" | "waits" | "returns" | "ended" | "stopped", string][];
  /** what does not hold: invariant -> problem */ broken: Record<string, string>;
  /** whether all CPUs are done */ rest: boolean;
  /** the schedule so far: "0x5 1x12" */ line: string;
}

/** `at` is the number of steps that are kept of the schedule. */
interface RaceAsks extends PictureAsks {
  move: { cpu: number; at: number };
  load: { line: string };
  find: { at: number };
  any: { at: number };
}
