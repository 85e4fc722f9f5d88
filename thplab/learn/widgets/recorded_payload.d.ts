// What a real kernel stored in operations of a trace, beside the steps of the trace: recorded_payload.py.

interface RecordedOperation {
  /** what the recording is called: "split_pmd_sole" */ name: string;
  /** the operation, and what came before it */ label: string;
  /** the release that was recorded: "6.12.117+deb12-amd64" */ kernel: string;
  /** the first frame that does what a row says */ first: number;
  rows: RecordedRow[];
}

/** One place of a recording, and what the simulator does there in a huge page of 512 pages. */
interface RecordedRow {
  recorded: RecordedLine[];
  here: RecordedLine[];
  agrees: boolean;
  /** the first and the last frame of the trace that do it; null if none does */ frames: [number, number] | null;
}

/** What is stored, and the function that does it; "" for a line that says how often the next ones are done. */
type RecordedLine = [string, string];
