"""Nests over the rows of a matrix: which are written with vectors, which become one, what is left out."""

from __future__ import annotations

from archdsl.graph.expressions import Expr
from archdsl.kernels.loops import Place, Statement
from archdsl.kernels.rows import Nest, fitting, joined, lines, replaces
from archdsl.recurrence.step import access


def at(name: str, *indices: str) -> Expr:
    return access(name, indices)


def address(place: Place) -> str:
    return f"{place[0]}[{' + '.join(place[1])}]"


def nest(target: tuple[str, ...], value: Expr, fresh: bool = True, i: str = "i", j: str = "j", width: int = 16) -> Nest:
    return Nest(((i, 4), (j, width)), (Statement((target[0], target[1:]), value, fresh),))


UPDATE = nest(("S", "i", "j"), at("b") * (at("k", "i") * at("v", "j")) + at("R", "i", "j"))
READ = nest(("y", "b"), at("q", "a") * at("S", "a", "b"), False, "a", "b")


def text(*nests: Nest, dead: set[str] | None = None) -> str:
    (run,) = joined(nests)
    return "\n".join(lines(run, address, dead or set()))


def test_what_has_a_form_with_vectors() -> None:
    assert fitting(UPDATE)
    assert not fitting(nest(("S", "i", "j"), at("R", "i", "j"), width=20)), "no whole vectors"
    assert not fitting(nest(("S", "i", "j"), at("R", "i", "j"), width=256)), "too long for registers"
    from archdsl.graph.expressions import call

    assert not fitting(nest(("S", "i", "j"), call("tanh", at("R", "i", "j")))), "functions stay in plain loops"
    assert fitting(nest(("S", "i", "j"), call("tanh", at("k", "i")) * at("R", "i", "j"))), "but not those of one number for the row"
    assert not fitting(nest(("S", "i", "j"), at("S", "i", "j+1") + at("R", "i", "j"))), "reads other entries of what it writes"


def test_a_matrix_changed_and_read_is_gone_through_once() -> None:
    found = text(UPDATE, READ)
    assert found.count("for (int i") == 1
    assert "S[i + j]) = " in found
    assert "= VEC(S[i + j])" not in found, "the new entry is in a register"
    assert "for (int a" not in found


def test_what_nobody_reads_is_not_stored() -> None:
    assert "VEC(S[i + j]) =" not in text(UPDATE, READ, dead={"S"})


def test_numbers_of_a_row_are_multiplied_once() -> None:
    found = text(UPDATE).splitlines()
    inside = found.index(
        next(line for line in found if "for (int v_" in line and found.index(line) > found.index("        for (int i = 0; i < 4; i++) {"))
    )
    assert sum("*" in line for line in found[inside + 2 :]) == 1


def test_nests_that_need_a_whole_sum_stay_apart() -> None:
    uses_sum = nest(("S", "i", "j"), at("y", "j") * at("k", "i"))
    assert len(joined([READ, uses_sum])) == 2
    row = nest(("z", "i"), at("R", "i", "j") * at("v", "j"), True)
    uses_row = nest(("S", "i", "j"), at("z", "i") * at("v", "j"))
    assert len(joined([row, uses_row])) == 2
    transposed = nest(("T", "i", "j"), at("S", "j", "i"))
    assert len(joined([UPDATE, transposed])) == 2


def test_sums_along_a_row_share_what_differs_by_a_number() -> None:
    core = at("R", "i", "j") * at("v", "j")
    both = Nest(
        (("i", 4), ("j", 16)), (Statement(("a", ("i",)), at("b") * core, True), Statement(("c", ()), -(at("k", "i") * core), False))
    )
    found = "\n".join(lines([both], address, set()))
    assert found.count("total(") == 1


def test_entries_that_can_take_the_place_of_others() -> None:
    over = nest(("new", "i", "j"), at("old", "i", "j") * at("k", "i"))
    assert replaces([over], "old", "new")
    assert not replaces([nest(("new", "i", "j"), at("old", "i", "j"), False)], "old", "new"), "adds to what stood there"
    assert not replaces([nest(("new", "i", "j"), at("old", "0", "j"))], "old", "new"), "another row is read"
