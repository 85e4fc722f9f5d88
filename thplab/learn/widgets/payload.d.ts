// What a stepper shows of a trace: payload.py. Frames are numbered from 0; frame 0 is the machine before the first step.

interface StepperData {
  name: string;
  about: string;
  kernel: string;
  /** name, a colon, and what it means: "TOY: 8 pages in a huge page of 32 KiB" */ geometry: string;
  /** the operations on one line */ scenario: string;
  /** where and why the scenario stopped; "" if it came to its end */ problem: string;
  /** what the phases are called: operations stand in where a scenario names no phases */ unit: "phase" | "operation";
  phases: Phase[];
  operations: Operation[];
  frames: StepperFrame[];
  /** one sheet, with a picture for each frame */ pictures: Sheets;
  /** a frame has the number of its ledger */ ledgers: LedgerGroup[][];
  /** each state in words; missing until they are asked for */ words?: string[];
  questions: StepperQuestion[];
  /** the frames at which a lecture comes to rest */ stops: number[];
  /** what was asked of the kernel record on the way; none for a trace in which another CPU moves */ policies: Policy[];
  /** the operations that a real kernel was seen at, in their order; null: there are some, and they can be asked for */ recorded: RecordedOperation[] | null;
  /** Python that makes the state of a frame again: before the frame's number, and after it */ code: [string, string];
}

/** Pictures by detail, in each the same sheets; "full" is missing until it is asked for. */
type Sheets = Partial<Record<"simple" | "full", SheetData[]>>;

/** A series of pictures on one laid-out SVG: sheet.py. */
interface SheetData {
  /** the first picture, and hidden in it everything that another one has */ svg: string;
  /** ids of cells, tables, boxes and arrows */ places: string[];
  /** what may fill a place; null: it does not show */ values: (CellValue | ShapeValue | null)[];
  /** for each picture what is other than in the one before: a place and a value, in turn */ changes: number[][];
}

/** Of a cell: its ground, and pieces of text: what it says, ink, bold (1) or not (0), size. */
type CellValue = [string, [string, string, number, number][]];

/** Of a frame or an arrow: classes, line, dashes, width. */
type ShapeValue = [string, string, string, string];

interface Phase {
  title: string;
  why: string;
  /** the number of its first frame */ first: number;
}

interface StepperFrame {
  ledger: number;
  /** the number of its operation; null before the first */ op: number | null;
  phase: number;
  /** the innermost routine; "" outside of all */ routine: string;
  /** what the step does */ text: string;
  /** why; "" where that needs no words */ why: string;
  /** whether it is folded into the next frame unless all steps are shown */ plain: boolean;
  /** the numbers of the policies that were asked on the way to it */ asks: number[];
  /** references = mappings + pins, of the first huge page: "10 = 9 + 1"; strip.py */ strip: string;
}

/** In what kernels differ: what this one does, what that means, and why it is believed. policy_row() of kernel_text.py. */
interface Policy {
  /** "cow.splits_pmd" */ name: string;
  /** "yes", "no", "-EBUSY", ... */ value: string;
  meaning: string;
  /** whose record says so: this kernel's, or that of one before it */ kernel: string;
  /** the evidence, each in words */ why: string[];
}

/** An operation with its call tree. One that was interrupted comes in parts. */
interface Operation {
  label: string;
  phase: number;
  first: number;
  last: number;
  /** "0", "-EBUSY", and what it has read: "0, reads 0x99"; "" if it has not returned */ result: string;
  failed: boolean;
  rows: TreeRow[];
}

/** A line of the call tree: depth, text, and the frame that it stands for; null for the name of a routine. */
type TreeRow = [number, string, number | null];

/** What a prediction asks: before frame `at` is shown; the answer is computed from frame `of`. */
interface StepperQuestion extends Asked {
  at: number;
  of: number;
}

/** A question and what it takes to ask and to judge it. */
interface Asked {
  /** the frame that it stands before */ at?: number;
  /** the same for the same question: the browser keeps the answer under it */ id: string;
  question: string;
  /** none: a whole number is typed */ choices: string[];
  actual: string;
  why: string;
}

/** Counters of a page or of the events: ledger_groups() of payload.py. */
interface LedgerGroup {
  title: string;
  rows: LedgerLine[];
}

/** A counter: name, before (null: there was none), now, and who holds it. A text where a flag is among its bits. */
type LedgerLine = [string, number | string | null, number | string, string[]];

/** What must hold: name, when it is asked ("always", ...), in words. */
type Invariant = [string, string, string];

/** What every page with pictures can ask for: them in another detail, too. */
interface PictureAsks {
  detail: { detail: string };
}

interface StepperAsks extends PictureAsks {
  /** its scenario, on the kernel of the machine */
  run: {};
  words: {};
  recorded: {};
}
