// A ledger to be filled in: ledger_payload.py and ledger.py.

interface LedgerData {
  groups: { title: string; accounts: Account[] }[];
  /** what the kernel calls the reference count */ refcount: string;
  step: string;
  /** one sheet with one picture */ pictures: Sheets;
  /** the state in words */ words: string;
  /** the picture in words without its counters */ entries: string;
  kernel: string;
  geometry: string;
  scenario: string;
}

/** A counter: its total, and a row for each holder. */
interface Account {
  name: string;
  /** how the raw field stands to it */ stored: string;
  total: Cell;
  rows: { holder: string; by: string; cell: Cell }[];
}

interface Cell {
  actual: string;
  /** the first hint: how it is counted */ rule: string;
  /** the second one: where to look */ where: string;
  /** ids in the picture */ marks: string[];
  why: string;
  /** whether the learner fills it in */ blank: boolean;
}

/** What the learner did with a blank cell: the trait `results`. */
interface LedgerResult {
  counter: string;
  holder: string;
  tries: string[];
  hints: number;
  right: boolean;
  actual?: string;
}
