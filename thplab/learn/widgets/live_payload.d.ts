// A run on a real kernel beside the simulator: live_payload.py. The live lab packs LiveData, and the run that is shown apart from it.

interface LiveData {
  /** name, about, operations */ choices: [string, string, string][];
  /** why nothing can be run here; "" if it can */ why: string;
  /** the release that runs here */ kernel: string;
  /** the nearest simulated kernel */ simulator: string;
}

interface Compared {
  name: string;
  about: string;
  scenario: string;
  kind: "live" | "recorded";
  kernel: string;
  simulator: string;
  /** what is to be said where the kernel has no simulated one of its own */ nearest: string;
  /** how often it was performed */ runs: string;
  /** what was seen of the kernel, and what not */ seen: string[];
  operations: ComparedOperation[];
  /** how many operations agree */ agree: number;
  /** one sheet; none where no pictures were asked for */ pictures: Sheets;
}

interface ComparedOperation {
  label: string;
  verdict: "agrees" | "differs" | "not modelled";
  /** why it was not compared */ why: string;
  noisy: boolean;
  groups: { title: string; rows: ComparedRow[] }[];
  picture?: number;
  words?: string;
}

/** A field: name, on the kernel, in the simulator, whether they agree. */
type ComparedRow = [string, string, string, boolean];

interface LiveAsks {
  run: { source: string };
  choose: { source: string };
}
