"""The kinds of check: each proves what is true, fails on what is false, never by sampling."""

import pytest
import sympy as sp
from flint import arb

from geomem.theorems import STATEMENTS, Statement, Step, verify
from geomem.theorems.statement import (
    Checked,
    Enclosed,
    Identity,
    LimitValue,
    Result,
    Sign,
    Simulated,
    Words,
    enclose,
)

x, u = sp.symbols("x u", positive=True)


@pytest.mark.parametrize(
    ("check", "true", "false"),
    [
        (Identity(), sp.Eq(sp.Derivative(x**2, x), 2 * x), sp.Eq(sp.Derivative(x**2, x), 3 * x)),
        (Sign(), sp.Gt(x**2 + x, 0, evaluate=False), sp.Gt(x**2 - x, 0, evaluate=False)),
        (Sign({x: u / (1 + u)}), 1 - x > 0, sp.Rational(1, 2) - x > 0),
        (Sign({x: 1 + u}), sp.Le(1 / x, 1), sp.Le(x, 2)),
        (
            LimitValue(),
            sp.Eq(sp.Limit(sp.sin(x) / x, x, 0), 1),
            sp.Eq(sp.Limit(1 / x, x, sp.oo), 1),
        ),
        (Enclosed({x: (0, 1)}), sp.exp(x) < 1 + 2 * x + sp.Rational(1, 100), sp.exp(x) < 1 + x),
        (
            Enclosed({x: (0, 1), u: (0, 1)}),
            x * u < sp.Rational(101, 100),
            x * u < sp.Rational(1, 2),
        ),
        (Simulated(lambda: [(1.0, 0.1, 1.2, "<=")]), None, None),
    ],
)
def test_each_kind_proves_the_true_and_fails_the_false(check, true, false):
    assert check.run(true).held
    if false is not None:
        assert not check.run(false).held


def test_a_tight_inequality_is_undecided_and_not_held():
    """x^2 >= 0 with equality inside the range: no number of boxes separates it from 0."""
    y = sp.Symbol("y", real=True)
    outcome = Enclosed({y: (-1, 1)}).run(sp.Ge(y**2, 0, evaluate=False))
    assert not outcome.held and "undecided" in outcome.detail


def test_a_simulation_beyond_four_standard_errors_fails():
    assert not Simulated(lambda: [(1.0, 0.1, 0.5, "<=")]).run(None).held
    assert not Simulated(lambda: [(1.0, 0.1, 1.5, ">=")]).run(None).held
    assert not Simulated(lambda: [(1.0, 0.1, 1.5, "=")]).run(None).held
    assert not Simulated(lambda: [(1.0, 0.0, 0.9999, "<=")]).run(None).held


@pytest.mark.parametrize(
    "cases", [[], [(float("nan"), 1.0, 1.0, "<=")], [(0.0, 1.0, float("nan"), "<=")]]
)
def test_a_simulation_of_nothing_or_of_no_number_fails(cases):
    assert not Simulated(lambda: cases).run(None).held


def test_enclosures_contain_the_value_and_never_round_rationals_to_floats():
    value = enclose(sp.sqrt(2) + sp.Rational(1, 3) * sp.pi + sp.erf(x) ** 2, {x: arb(1)})
    exact = sp.N(sp.sqrt(2) + sp.pi / 3 + sp.erf(1) ** 2, 50)
    assert value.overlaps(arb(str(exact))) and float(value.rad()) < 1e-14
    with pytest.raises(ValueError, match="no enclosure"):
        enclose(sp.gamma(x), {x: arb(1)})


@pytest.mark.long  # the book's own run of theorem_checks is the quick suite's
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_every_step_holds_and_every_control_fails(statement):
    rows = verify(statement)
    assert [row for row in rows if not row.held] == []
    assert len(rows) == len(statement.steps) + len(statement.controls)


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_no_check_mistakes_its_kind(statement):
    """No floating-point number in a symbolic formula (a rigorous one may state digits).

    Nor one that sympy decided when it was built: the book would print True.
    """
    for step in (*statement.steps, *statement.controls):
        assert step.formula not in (True, False), step.why
        if step.check.kind == "symbolic":
            assert not step.formula.has(sp.Float), step.why
    assert not any(isinstance(control.check, Words) for control in statement.controls)


def test_a_statement_without_a_negative_control_is_refused():
    step = Step("why", sp.Eq(x, x, evaluate=False), Words())
    with pytest.raises(ValueError, match="negative control"):
        Statement("l", "Theorem 1", "theorem", "t", "ours", "", "", (step,), ())


def test_a_control_that_does_not_fail_is_counted_among_the_failed():
    rows = [Result("a", 1, "symbolic", True, "", 0.1), Result("a", -1, "symbolic", False, "", 0.1)]
    found = Checked(rows)
    assert found.failed == rows[1:] and found.kinds == {"symbolic": 1}
    counts = {name: found.in_words[name] for name in ("statements", "steps", "controls", "words")}
    assert counts == {"statements": "1", "steps": "1", "controls": "1", "words": "0"}
