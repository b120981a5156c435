"""Activations in C: value and gradients in one pass over memory each, from the same formulas that the torch text is written from.

`accelerated` gives an autograd function that takes the kernel where it can (dense float32 or float64 on the CPU, large enough to be worth
it, learned parameters that are single numbers) and the plain torch function everywhere else: small or strided tensors, other devices and
dtypes, torch.compile, gradients of gradients.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from archdsl.graph.acts import Act
from archdsl.graph.expression_text import load_act
from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, call, order, var
from archdsl.kernels.build import NoCompiler, load
from archdsl.kernels.c_text import NoC, constant, function

log = logging.getLogger("archdsl.kernels")

SMALLEST = 8192  # elements below which a call costs more than it saves
SERIAL = 32_768  # elements below which one thread is quicker
BLOCK = 4096  # elements summed as one, in fixed order: results do not depend on the number of threads

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_HEADS: dict[torch.dtype, str] = {torch.float32: "", torch.float64: "#define REAL64 1\n"}


def statements(roots: Sequence[Expr], names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Declarations of every intermediate value, and the C text of each root. Names in C are numbers: no text of a spec gets there."""
    texts: dict[Expr, str] = {}
    lines: list[str] = []
    for node in order(*roots):
        if isinstance(node, Const):
            texts[node] = constant(node.value)
        elif isinstance(node, Var):
            texts[node] = names[node.name]
        elif isinstance(node, Custom):
            texts[node] = texts[node.value]
        elif isinstance(node, Apply):
            name = f"t{len(lines)}"
            lines.append(f"const {'int' if node.is_bool else 'real'} {name} = {_apply(node, [texts[a] for a in node.args])};")
            texts[node] = name
    return lines, [f"R({texts[r]})" if r.is_bool else texts[r] for r in roots]


def _apply(node: Apply, args: list[str]) -> str:
    """One function; choices without a branch and whole powers as products, so that the loop becomes vector code."""
    last = node.args[-1]
    if node.function == "where":
        return f"pick({', '.join(args)})"
    if node.function == "pow" and isinstance(last, Const) and last.value in range(3, 9):
        return " * ".join([args[0]] * range(9)[last.value])  # type: ignore[index]
    return function(node.function, args)


def source(act: Act) -> str:
    """C text with `forward` and `backward` for an act. Raises NoC."""
    inputs = {name: f"x{i}" for i, name in enumerate(act.inputs)}
    learned = {p.name: f"w{i}" for i, p in enumerate(act.learned)}
    names = {**inputs, **learned}
    lines, (value,) = statements([act.forward], names)
    seed = var("gradient of the output")
    slopes = [call("mul", seed, act.backward[n]) for n in names]
    back, grads = statements(slopes, {**names, seed.name: "g"})
    header = Path(__file__).with_name("vector_math.h").read_text(encoding="utf-8")
    weights = [f"const real {w} = p[{i}];" for i, w in enumerate(learned.values())]
    reads = [f"const real {x} = {x}_[i];" for x in inputs.values()]
    given = ", ".join(f"const real *restrict {x}_" for x in inputs.values())
    made = ", ".join(f"real *restrict d{x}_" for x in inputs.values())
    shifted = ", ".join(f"{x}_ + b * {BLOCK}" for x in inputs.values())
    back_shifted = ", ".join(f"d{x}_ + b * {BLOCK}" for x in inputs.values())
    stores = [f"d{x}_[i] = {g};" for x, g in zip(inputs.values(), grads)]
    sums = [f"s{i} += {g};" for i, g in enumerate(grads[len(inputs) :])]
    reduction = f"#pragma omp simd reduction(+:{', '.join(f's{i}' for i in range(len(sums)))})" if sums else "#pragma omp simd"
    loop = f"""    int64_t blocks = (n + {BLOCK - 1}) / {BLOCK};
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t b = 0; b < blocks; b++) {{
        int64_t m = n - b * {BLOCK} < {BLOCK} ? n - b * {BLOCK} : {BLOCK};"""
    return f"""{header}
static void forward_block({given}, const real *p, real *restrict y_, int64_t m) {{
    {_join(weights, 4)}
#pragma omp simd
    for (int64_t i = 0; i < m; i++) {{
        {_join([*reads, *lines, f"y_[i] = {value};"], 8)}
    }}
}}

void forward({given}, const real *p, real *restrict y_, int64_t n, int threads) {{
{loop}
        forward_block({shifted}, p, y_ + b * {BLOCK}, m);
    }}
}}

static void backward_block(const real *restrict g_, {given}, const real *p, {made}, double *sums, int64_t m) {{
    {_join([*weights, *(f"double s{i} = 0;" for i in range(len(sums)))], 4)}
{reduction}
    for (int64_t i = 0; i < m; i++) {{
        {_join(["const real g = g_[i];", *reads, *back, *stores, *sums], 8)}
    }}
    {_join([f"sums[{i}] = s{i};" for i in range(len(sums))], 4)}
}}

void backward(const real *restrict g_, {given}, const real *p, {made}, double *sums, int64_t n, int threads) {{
{loop}
        backward_block(g_ + b * {BLOCK}, {shifted}, p, {back_shifted}, sums + b * {len(sums)}, m);
    }}
}}
"""


def _join(lines: list[str], indent: int) -> str:
    return ("\n" + " " * indent).join(lines)


class Kernel:
    """The compiled pair of an act for one dtype."""

    def __init__(self, act: Act, dtype: torch.dtype, library: ctypes.CDLL):
        self.act, self.dtype = act, dtype
        self.library = library
        self.number: Any = ctypes.c_double if dtype is torch.float64 else ctypes.c_float
        pointer = ctypes.c_void_p
        inputs = len(act.inputs)
        library.forward.argtypes = [pointer] * (inputs + 2) + [ctypes.c_int64, ctypes.c_int]
        library.backward.argtypes = [pointer] * (2 * inputs + 3) + [ctypes.c_int64, ctypes.c_int]
        library.forward.restype = library.backward.restype = None

    def forward(self, inputs: tuple[torch.Tensor, ...], learned: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The act of dense tensors of one shape and layout."""
        result = torch.empty_like(inputs[0])
        self.library.forward(*(x.data_ptr() for x in inputs), self._numbers(learned), result.data_ptr(), result.numel(), _threads(result))
        return result

    def backward(self, grad: torch.Tensor, inputs: tuple[torch.Tensor, ...], learned: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Gradients of the inputs, then of the learned parameters. `grad` has the inputs' layout."""
        made = tuple(torch.empty_like(x) for x in inputs)
        n = grad.numel()
        sums = torch.empty((n + BLOCK - 1) // BLOCK, len(learned), dtype=torch.float64) if learned else None
        read = [grad.data_ptr(), *(x.data_ptr() for x in inputs), self._numbers(learned)]
        self.library.backward(*read, *(d.data_ptr() for d in made), None if sums is None else sums.data_ptr(), n, _threads(grad))
        if sums is None:
            return made
        totals = sums.sum(0).to(self.dtype)
        return (*made, *(totals[i].to(w.dtype).view(w.shape) for i, w in enumerate(learned)))

    def _numbers(self, learned: tuple[torch.Tensor, ...]) -> ctypes.Array[Any]:
        return (self.number * max(len(learned), 1))(*(w.item() for w in learned))


def _threads(tensor: torch.Tensor) -> int:
    return torch.get_num_threads() if tensor.numel() >= SERIAL else 1


@lru_cache(maxsize=256)
def kernel(act: Act, dtype: torch.dtype) -> Kernel | None:
    """The compiled pair for an act; None where there is no compiler, or the act uses what has no C form or learns more than numbers."""
    if dtype not in _HEADS or any(p.per_axis for p in act.learned):
        return None
    try:
        return Kernel(act, dtype, load(_HEADS[dtype] + source(act)))
    except NoC:
        return None
    except NoCompiler as problem:
        _tell(str(problem))
        return None


@cache
def _tell(problem: str) -> None:
    log.warning("activations run in plain torch: %s", problem)


def with_kernel(plain: Any) -> Any:
    """`accelerated` for an emitted class, whose `formula` is the text of its act; read when it is first worth a kernel."""
    return accelerated(lambda: load_act(plain.formula), plain)


def accelerated(act: Act | Callable[[], Act], plain: Any) -> Any:
    """An autograd function like `plain` (the emitted one of the act) that takes the C kernel where it can."""
    given = cache(act) if callable(act) else lambda: act
    torch_forward, torch_backward = plain.forward, plain.backward  # as plain functions: torch.compile reads through those

    def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
        found = None if torch.compiler.is_compiling() else _eligible(given, tensors)
        ctx.kernel = found
        if found is None:
            result: torch.Tensor = torch_forward(ctx, *tensors)
            return result
        ctx.save_for_backward(*tensors)
        count = len(found.act.inputs)
        return found.forward(tensors[:count], tensors[count:])

    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        found: Kernel | None = ctx.kernel
        if found is None or torch.is_grad_enabled() or grad.dtype is not found.dtype:
            return torch_backward(ctx, grad)
        tensors, count = ctx.saved_tensors, len(found.act.inputs)
        if grad.stride() != tensors[0].stride():
            grad = torch.empty_like(tensors[0]).copy_(grad)
        made = found.backward(grad, tensors[:count], tensors[count:])
        return made[0] if len(made) == 1 else made

    body = {"forward": staticmethod(forward), "backward": staticmethod(backward), "__doc__": plain.__doc__}
    return type(plain.__name__, (torch.autograd.Function,), body)


def _eligible(given: Callable[[], Act], tensors: tuple[torch.Tensor, ...]) -> Kernel | None:
    first = tensors[0]
    if first.numel() < SMALLEST or first.dtype not in _HEADS or type(first) not in _PLAIN or first.device.type != "cpu":
        return None
    act = given()
    count = len(act.inputs)
    for x in tensors[:count]:
        if type(x) not in _PLAIN or x.device.type != "cpu" or x.layout is not torch.strided:
            return None
        if x.shape != first.shape or x.stride() != first.stride() or x.dtype is not first.dtype or not _dense(x):
            return None
    if any(w.numel() != 1 or w.device.type != "cpu" for w in tensors[count:]):
        return None
    return kernel(act, first.dtype)


def _dense(x: torch.Tensor) -> bool:
    """True if the elements lie side by side in some order of the axes."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
