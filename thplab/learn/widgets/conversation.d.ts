// What page and Python have between them, whatever the widget: conversation.py and widget.py.

/** The widget's traits as the page sees them. A page without Python has no send(). */
interface Model {
  get(trait: string): any;
  set(trait: string, value: any): void;
  save_changes(): void;
  on(event: string, run: () => void): void;
  off(event: string, run: () => void): void;
  send?(question: Question): void;
}

/** What the page asks: what is to be done, and with what. */
interface Question {
  /** by which it knows the answer */ number: number;
  /** one of the names that asked() marks a method with */ do: string;
  /** the arguments of that method, by name */ with: Record<string, unknown>;
}

/** What Python answers, in the trait `answer`. */
interface Answer {
  /** the number of the question; 0: nobody has asked */ to: number;
  /** what is said, in words; "" for nothing */ says: string;
  /** whether that is why nothing has changed */ error: boolean;
  /** whether something goes on whose end will be told, too */ running: boolean;
}
