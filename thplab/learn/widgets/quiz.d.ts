// A set of questions: quiz.py.

interface QuizData {
  questions: QuizQuestion[];
  pictures: string[];
}

interface QuizQuestion extends Asked {
  kernel: string;
  geometry: string;
  /** each with what it does, in words */ operations: [string, string][];
  /** wrong answer -> the misconception that leads to it */ slips: Record<string, string>;
  /** of the state in the end */ picture: number;
  ledger: LedgerGroup[];
  words: string;
}

interface QuizAsks {
  another: {};
}
