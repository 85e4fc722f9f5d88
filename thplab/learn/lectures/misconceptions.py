"""What a wrong answer may come from: a name for the lecturer, and one sentence that a class is shown."""

MISCONCEPTIONS = {
    "one split": "The mapping and the page are taken for one thing, so that cutting the one cuts the other.",
    "it spreads": "What one process does to its own mapping is thought to reach the mappings of the others.",
    "eight new": "Eight entries bring seven new references, not eight: one was there already, that of the huge entry.",
    "the tail counts": "A pin is looked for on the small page that was pinned. Only the head counts it.",
    "splits never fail": "That was the promise of the old kernel. Since the redesign a page's split may be refused.",
    "unmapped is free": "A part that nobody maps any more is still a part of the huge page, and that is in use.",
    "a pin is a mapping": "A pin is a reference without any page table entry. No map count knows of it.",
    "own reference": "Whoever splits holds a reference, too, and leaves exactly this one out.",
    "checked is true for ever": "An answer is as old as the step that read it. What was equal then may differ now.",
    "no trace": "A refusal may come late, when something has been changed already that nobody changes back.",
    "queued is split": "What is on the queue is only noted. It is split when memory runs short.",
    "frozen still counts": "A migration entry maps nothing and holds no reference. It only says: wait.",
    "all got cheaper": "The redesign moved the cost. Pins and single mappings became cheap, one operation became dear.",
    "the head counts PMDs": "The head's map count holds two kinds: the PMDs, and the entries of its first small page.",
    "advice is an order": "The program only advises. What the kernel could not do then is not told to it.",
    "AnonHugePages is memory in huge pages": (
        "AnonHugePages counts what huge entries map. A page may be whole without any huge entry."
    ),
    "one byte, one page": "How much a write copies is a choice of the kernel: the whole huge page, or one small page.",
    "a pin protects its own page only": "All references are in one count: a pin of one page stops the split of all.",
    "the caller alone": "Only what the caller has named is thought to change. Others may have to pay, or to wait.",
    "today's kernel": "That is what kernels do today. The old one did otherwise.",
    "the lock is free": "A lock is an atomic operation when it is taken, and one more when it is given back.",
}
"""Name -> the sentence."""
