// The way through a trace: the numbers of the frames that are shown, `all` of them or those that are not plain, and where each phase begins.
// A frame that is not shown is folded into the next one.
class Course {
  /** @param {StepperData} data @param {Questions} questions @param {boolean} all */
  constructor({ frames, phases }, questions, all) {
    this.all = all;
    this.frames = frames;
    this.questions = questions;
    this.shown = [...frames.keys()].filter(number => all || !frames[number].plain);
    this.begins = phases.map(({ first }) => this.at(first));
    this.last = this.shown.length - 1;
  }

  // The frame that shows another one: itself, the one that it is folded into, or the last.
  at(number) {
    return this.shown.find(each => each >= number) ?? this.shown.at(-1);
  }

  place(number) {
    return this.shown.indexOf(number);
  }

  // The frame `by` places behind another one; nothing where there is none.
  next(number, by = 1) {
    return this.shown[this.place(number) + by];
  }

  before(question) {
    return this.shown.findLast(number => number < question.at);
  }

  // Where one comes who goes on from a frame to another: there, or before the first question in between that is not answered yet.
  stop(from, wanted) {
    const there = this.at(wanted), question = this.questions.between(from, there);
    return question ? { number: this.before(question), question } : { number: there };
  }

  // The number of the phase that a frame is in; -1 before the first step.
  phase(number) {
    return number ? this.begins.findLastIndex(first => first <= number) : -1;
  }

  // What is folded into a frame.
  folded(number) {
    const before = this.next(number, -1) ?? 0;
    return this.frames.slice(before + 1, Math.max(before + 1, number));
  }

  // The numbers of the policies that were asked on the way to a frame (`now`), and `before` that in the same operation.
  asked(number) {
    const { op } = this.frames[number], folded = this.folded(number).filter(frame => frame.op === op);
    const first = this.frames.findIndex(frame => frame.op === op), asks = frames => new Set(frames.flatMap(frame => frame.asks));
    const now = asks([...folded, this.frames[number]]), before = asks(this.frames.slice(first, number - folded.length));
    return { now: [...now], before: [...before].filter(each => !now.has(each)) };
  }
}
