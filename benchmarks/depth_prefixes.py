"""What shared prefixes bring on SmolLM2-135M: the programs that searches visited, in the order visited, with states kept and without.

    python benchmarks/depth_prefixes.py [programs a search] [questions]

Writes benchmarks/results/depth_prefixes.json. The two ways take turns program by program, so that a busy machine slows both alike; equal
programs must give equal bits. `reached` is the speed-up of the wall time over (layer runs / distinct prefix runs), what sharing could bring.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch
from record import write_result

from archdsl.runtime import find_published, load_tokenizer
from archdsl.search.depth.judge import Judge
from archdsl.search.depth.program import distinct_runs, layer_runs
from archdsl.search.depth.questions import TASKS, ask, generate
from archdsl.search.depth.scoring import Exam, Question
from archdsl.search.depth.search import SEARCHES
from archdsl.search.depth.skeleton import load_skeleton
from archdsl.search.depth.stack import Stack

BOUND = 0.8


def measure(stack: Stack, questions: list[Question], name: str, budget: int) -> dict[str, float | int | bool]:
    judge = Judge(Exam(stack, questions), budget, {})
    SEARCHES[name](judge, stack.depth, 0)
    programs = list(judge.visited)
    shared, alone = Exam(stack, questions), Exam(stack, questions, memory=0)
    spent, equal = [0.0, 0.0], True
    for program in programs:
        values = []
        for side, exam in enumerate((shared, alone)):
            begin = time.perf_counter()
            values.append(exam.score(program).values)
            spent[side] += time.perf_counter() - begin
        equal = equal and torch.equal(*values)
    asked = sum(map(layer_runs, programs))
    ratio, speed = asked / distinct_runs(programs), spent[1] / spent[0]
    return {
        "programs": len(programs),
        "layer_runs": asked,
        "distinct_prefix_runs": distinct_runs(programs),
        "layers_run_with_sharing": round(shared.runs),
        "ratio": round(ratio, 3),
        "speed_up": round(speed, 3),
        "reached": round(speed / ratio, 3),
        "equal_bits": equal,
        "seconds_shared": round(spent[0], 1),
        "seconds_alone": round(spent[1], 1),
    }


def main() -> None:
    budget, count = (int(text) for text in (sys.argv[1:] + ["40", "8"][len(sys.argv) - 1 :])[:2])
    torch.set_num_threads(1)
    skeleton = load_skeleton("smollm2_depth")
    assert skeleton.pretrained is not None
    stack, tokenizer = Stack.build(skeleton), load_tokenizer(find_published(skeleton.pretrained))
    task = next(task for task in TASKS if task.name == "products")
    questions = ask(task, generate(task, count, seed=0), tokenizer, 0)
    found: dict[str, object] = {"questions": len(questions), "bound": BOUND}
    for name in SEARCHES:
        found[name] = row = measure(stack, questions, name, budget)
        sys.stdout.write(
            f"{name:<12} {row['programs']:>4} programs  ratio {row['ratio']:<6} speed-up {row['speed_up']:<6} reached {row['reached']:<6}"
            f" equal bits {row['equal_bits']}\n"
        )
        sys.stdout.flush()
    write_result("depth_prefixes", found)


if __name__ == "__main__":
    main()
