// What the sandbox shows: sandbox_payload.py, and sandbox_form.py for what can be done next.

interface SandboxData {
  kernel: string;
  geometry: string;
  kernels: string[];
  geometries: string[];
  /** what the kernel gets wrong: name, a colon, in words; "" for nothing */ mutant: string;
  /** the geometry in words */ size: string;
  forms: FormGroup[];
  invariants: Invariant[];
  /** each branch as a line */ branches: string[];
  branch: number;
  /** the operations of the branch */ ops: Move[];
  /** how many of them are done */ done: number;
  /** how many can be done */ reached: number;
  /** the number of the operation that could not be carried out, and why */ stopped: [number, string] | null;
  /** by the number of operations done; with Python only the one that is shown */ frames: Record<string, SandboxFrame>;
  /** one sheet, with a picture for each frame */ pictures: Sheets;
  spot: Spot;
  /** what makes sense now: operation -> field -> text */ offers: Record<string, Record<string, string>>;
  /** the names that a field can have in this state, the likeliest first */ names: Record<string, string[]>;
  /** what can be done with the page at the spot, as lines */ menu: string[];
  task: { question: string; hints: string[] } | null;
}

/** The page of a process that was clicked last. */
interface Spot {
  proc: string;
  region: string;
  start: string;
}

/** An operation of the branch, with its result if it came so far. */
interface Move {
  line: string;
  result: string;
  failed: boolean;
  broken: boolean;
}

interface SandboxFrame {
  /** its number in the sheet */ picture: number;
  /** rows of the picture that can be clicked, by id */ places: Record<string, Stretch[]>;
  words: string;
  ledger: LedgerGroup[];
  broken: Record<string, string>;
  rest: boolean;
  /** all of this as a line */ share: string;
  code: string;
  /** the step of the last operation that is shown; null for its end */ step: number | null;
  steps: Steps | null;
}

/** Pages `first` to `last` of a region of a process. */
interface Stretch {
  proc: string;
  region: string;
  first: number;
  last: number;
}

/** The steps of an operation, numbered from 0. */
interface Steps {
  operation: Operation;
  frames: { plain: boolean; why: string }[];
}

interface FormGroup {
  title: string;
  ops: Form[];
}

interface Form {
  op: string;
  doc: string;
  usage: string;
  fields: FormField[];
}

interface FormField {
  name: string;
  required: boolean;
  /** "" is to leave it out */ default: string;
  /** all that it can be; none where it is typed */ words: string[];
  /** what it can be, in words */ right: string;
}

interface SandboxAsks extends PictureAsks {
  op: { op: string; fields: Record<string, string> };
  type: { line: string };
  go: { at: number };
  switch: { branch: number };
  machine: { kernel: string; geometry: string };
  load: { line: string };
  choose: Spot;
  step: { step: number };
  check: {};
}
