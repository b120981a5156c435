"""Questions with choices from the generators of reasoning-gym. The wrong choices are answers of other items, of like length.

Wrong choices of that kind can often be told from the right one by how well they fit the question's surface, so clearing chance is less
than solving the task; what counts here is how the accuracy moves between programs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.runtime.chat import encode_chat
from archdsl.runtime.tokenizer import Tokenizer
from archdsl.search.base import seeded
from archdsl.search.depth.scoring import Question

MAX_PROMPT, MAX_ANSWER = 160, 24  # tokens; longer items are left out


@dataclass(frozen=True)
class Task:
    """A generator with its settings. name: of the generator. chat: whether the prompt is a turn of a talk or plain text to go on from."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    chat: bool = False
    choices: int = 4

    @property
    def title(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}({given}){', chat' if self.chat else ''}"


@dataclass(frozen=True, slots=True)
class Item:
    """One generated question and its answer as text, and the generator's own entry."""

    question: str
    answer: str
    accepts: Callable[[str], bool]  # whether the generator takes an answer as right


# Generators whose items are short enough for a small model on a processor, easiest settings; all are tried unless tasks are named.
TASKS = (
    Task("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}),
    Task("products", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2}),
    Task("spell_backward", {"min_word_len": 3, "max_word_len": 5}),
    Task("calendar_arithmetic"),
    Task("family_relationships"),
    Task("simple_equations"),
    Task("number_sequence"),
    Task("letter_counting", {"min_words": 3, "max_words": 6}),
    Task("gcd", {"max_value": 50}),
    Task("count_bits", {"max_n": 1000}),
    Task("time_intervals"),
    Task("word_sequence_reversal", {"min_words": 3, "max_words": 4}),
)


def generate(task: Task, count: int, seed: int, leave_out: frozenset[str] = frozenset()) -> list[Item]:
    """Different items of a task. leave_out: questions that other splits hold. Raises AD1081."""
    items: dict[str, Item] = {}
    data = _data(task, seed, 6 * count + 50)
    for entry in data:
        question = entry["question"].strip()
        answer = str(entry["answer"]).strip() if entry["answer"] is not None else ""
        if answer and question not in leave_out:
            items.setdefault(question, Item(question, answer, partial(_accepts, data, entry)))
        if len(items) == count:
            break
    return list(items.values())


def splits(task: Task, sizes: Sequence[int], seed: int) -> list[list[Item]]:
    """Splits that share no question, each from a stream of its own. A task with few items gives smaller ones."""
    found: list[list[Item]] = []
    seen: frozenset[str] = frozenset()
    for number, size in enumerate(sizes):
        found.append(generate(task, size, int(seeded("depth", task.name, seed, number).getrandbits(31)), seen))
        seen |= {item.question for item in found[-1]}
    return found


def check_names(names: Sequence[str]) -> None:
    """Raises AD1081 if reasoning-gym is absent or has no data set of such a name."""
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        hint = "Run: pip install reasoning-gym==0.1.25"
        raise ArchError(Diagnostic("AD1081", "the tasks need the package reasoning-gym", hint=hint)) from None
    for name in names:
        if name not in DATASETS:
            known = ", ".join(task.name for task in TASKS)
            hint = suggestion(name, sorted(DATASETS), f"Tried by default: {known}.")
            raise ArchError(Diagnostic("AD1081", f"reasoning-gym has no data set `{name}`", hint=hint))


def _data(task: Task, seed: int, size: int) -> Any:
    check_names([task.name])
    import reasoning_gym

    try:
        return reasoning_gym.create_dataset(task.name, size=size, seed=seed, **task.settings)
    except (TypeError, AssertionError, ValueError) as problem:
        note = str(problem).splitlines()[0] if str(problem) else "It does not say why."
        raise ArchError(Diagnostic("AD1081", f"reasoning-gym refuses the settings of `{task.name}`", note=note)) from None


def _accepts(data: Any, entry: Any, answer: str) -> bool:
    return float(data.score_answer(answer, entry)) >= 1.0


def ask(task: Task, items: Sequence[Item], tokenizer: Tokenizer, seed: int, answerable: bool = True) -> list[Question]:
    """Questions as tokens. With answerable=False the right answer is not among the choices, and one of the wrong ones is called right.

    Choices are drawn from the answers of other items among those nearest in length that the generator does not accept as right.
    """
    tokens = {item.answer: tuple(tokenizer.encode(_continued(task, item.answer), special=False)) for item in items}
    wanted = min(task.choices, len(tokens) - (not answerable))
    found = []
    for item in items:
        rng = seeded("depth choices", task.name, seed, item.question, answerable)
        prompt = tuple(_prompt(task, item, tokenizer))
        if wanted < 2 or len(prompt) > MAX_PROMPT or len(tokens[item.answer]) > MAX_ANSWER:
            continue
        wrong = _wrong(item, tokens, wanted - answerable, rng)
        if len(wrong) < wanted - answerable:
            continue
        answers = [item.answer, *wrong] if answerable else wrong
        right = answers[0]
        rng.shuffle(answers)
        found.append(Question(prompt, tuple(tokens[answer] for answer in answers), answers.index(right)))
    return found


def _prompt(task: Task, item: Item, tokenizer: Tokenizer) -> list[int]:
    if task.chat:
        return encode_chat(tokenizer, [{"role": "user", "content": item.question}])
    return tokenizer.encode(f"Question: {item.question}\nAnswer:", special=False)


def _continued(task: Task, answer: str) -> str:
    return answer if task.chat else f" {answer}"


def _wrong(item: Item, tokens: Mapping[str, tuple[int, ...]], count: int, rng: random.Random) -> list[str]:
    """Answers of others, near in length; in an order of their own."""
    others = [answer for answer in tokens if answer != item.answer and len(tokens[answer]) <= MAX_ANSWER]
    rng.shuffle(others)
    length = len(tokens[item.answer])
    others.sort(key=lambda answer: abs(len(tokens[answer]) - length))
    found: list[str] = []
    for answer in others:
        if len(found) < count and not item.accepts(answer):
            found.append(answer)
    return found


def blind(questions: Sequence[Question]) -> float:
    """The accuracy of who sees no question, only how often each answer is right in the other items; ties are shared.

    A task whose answers are uneven (many 1s) can be passed like that: the plain model must beat this share too.
    """
    often = Counter(q.choices[q.right] for q in questions)
    total = 0.0
    for q in questions:
        counts = [often[choice] - (place == q.right) for place, choice in enumerate(q.choices)]
        total += (counts[q.right] == max(counts)) / counts.count(max(counts))
    return total / len(questions)
