// What a slide of a lecture shows: slide.py.

interface SlideData {
  /** the lecture's title */ lecture: string;
  /** the lecture's name */ name: string;
  /** the slide's place in the lecture, from 0 */ number: number;
  /** how many slides the lecture has */ of: number;
  /** "1.5" */ id: string;
  title: string;
  part: string;
  /** 0: for which there may be no time */ minutes: number;
  /** the question to vote on; null if there is none */ card: CardData | null;
  /** what is shown, each a screenful: words, or the widget of that number */ screens: { table?: SlideTable; widget?: number }[];
  /** what one goes through, in order: a screen's number, or the card; and the frame at which a stepper stops there */ places: SlidePlace[];
  /** for the lecturer only: what it is, and the text */ notes: [string, string][];
  /** the widgets, in a page without Python: their kinds and the traits with which they begin */ widgets?: { kind: string; state: Record<string, unknown> }[];
}

interface SlidePlace {
  screen: number | "card" | "answer";
  stop?: number;
}

interface SlideTable {
  columns: string[];
  rows: string[][];
  /** a sentence; "" for none */ below: string;
}

interface CardData {
  question: string;
  /** letter and text of each */ choices: [string, string][];
  /** the number of the right one */ right: number;
  why: string;
  /** by the number of a wrong choice: the name of the misconception behind it, and what is wrong with it */ slips: Record<string, [string, string]>;
}
