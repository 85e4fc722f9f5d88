// A set of questions: quiz.py.

interface QuizData {
  questions: QuizQuestion[];
  /** another set can be asked for */ more: boolean;
  /** nothing is asked: the answers are shown */ told: boolean;
  /** for each question a sheet with one picture */ pictures: Sheets;
}

interface QuizQuestion extends Asked {
  kernel: string;
  geometry: string;
  /** each with what it does, in words */ operations: [string, string][];
  /** wrong answer -> the misconception that leads to it */ slips: Record<string, string>;
  ledger: LedgerGroup[];
  words: string;
}

interface QuizAsks extends PictureAsks {
  another: { seed: number };
}
