"""The kinds of check: each proves what is true, fails on what is false, never by sampling."""

import tomllib

import numpy as np
import pytest
import sympy as sp
from conftest import ROOT
from flint import arb

from geomem.theorems import STATEMENTS, Statement, Step, verify
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    LimitValue,
    Refused,
    Sign,
    Simulated,
    Words,
    enclose,
)
from geomem.theorems.formulas import (
    Called,
    Draws,
    Expect,
    Indicator,
    Least,
    Most,
    N,
    Over,
    Prob,
    at_least,
    at_most,
    equal,
    evaluate,
    i,
    j,
    say,
)
from geomem.theorems.normal import F, Q
from geomem.theorems.statement import KINDS, Checked, Result

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
    ],
)
def test_each_kind_proves_the_true_and_fails_the_false(check, true, false):
    outcome = check.run(true)
    assert outcome.held and not {"*", "("} & {*outcome.detail}, "words, not sympy's own text"
    if false is not None:
        assert not check.run(false).held


def test_a_tight_inequality_is_undecided_and_not_held():
    """x^2 >= 0 with equality inside the range: no number of boxes separates it from 0."""
    y = sp.Symbol("y", real=True)
    outcome = Enclosed({y: (-1, 1)}).run(sp.Ge(y**2, 0, evaluate=False))
    assert not outcome.held and "undecided" in outcome.detail


def world(mean=1.0, spread=0.5, draws=4000):
    noise = np.random.default_rng(0).standard_normal(draws)
    drawn = mean + spread * (noise - noise.mean())
    return lambda: [{x: Draws(drawn), u: 1.0}]


@pytest.mark.parametrize(
    ("relation", "target", "spread", "held"),
    [
        (equal, u, 0.5, True),
        (equal, 1.06 * u, 0.5, False),  # the target is wrong by six percent
        (equal, 0.94 * u, 0.5, False),
        (equal, u, 20.0, False),  # so few draws that five percent would not be seen
        (at_most, u, 0.5, True),
        (at_most, 0.94 * u, 0.5, False),
        (at_most, 1.2 * u, 0.5, False),  # true, and so would a bound five percent lower be
        (at_least, u, 0.5, True),
        (at_least, 1.06 * u, 0.5, False),
        (at_least, 0.8 * u, 0.5, False),
    ],
)
def test_a_simulation_holds_only_what_it_could_refute(relation, target, spread, held):
    formula = relation(Expect(x), target)
    assert Simulated(world(spread=spread)).run(formula).held == held


@pytest.mark.parametrize(("relation", "share"), [(at_most, 1.2), (at_least, 0.8)])
def test_a_loose_inequality_prints_its_slack_and_a_false_one_fails(relation, share):
    loose = Simulated(world(), loose="by nature")
    outcome = loose.run(relation(Expect(x), share * u))
    assert outcome.held and f"slack: {1 / share:.2f}" in outcome.detail
    assert not loose.run(relation(Expect(x), u / share)).held


@pytest.mark.parametrize("worlds", [[], [{x: float("nan"), u: 1.0}], [{x: 1.0, u: np.nan}]])
def test_a_simulation_of_nothing_or_of_no_number_fails(worlds):
    assert not Simulated(lambda: worlds).run(equal(x, u)).held


d = sp.IndexedBase("d")


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (Over(d[i, j] ** 2, j, i), 4 + 9),
        (Over(d[i, j], j), 5),
        (Most(d[i, j], j), 3),
        (Least(d[i, j], j, i), 2),
        (sp.Sum(d[i, j] + u, (j, 2, N)), 2 + 3 + 2 * 2.0),
        (sp.Sum(d[i, j], (j, 1, N), (i, 1, 2)), 5 + 3),
        (Over(Over(d[i, j], j, i), i) / N, (5 + 3 + 4) / 3),
        (sp.Integral(sp.exp(-(x**2)), (x, 0, sp.oo)), np.sqrt(np.pi) / 2),
        (Q(u) + F(u), 1.0),
        (sp.Max(0, 1 - 2 * u, evaluate=False), 0.0),
        (Prob(sp.Gt(sp.Symbol("z"), 0)), 0.75),
        (sp.Derivative(Expect(u**2 * sp.Symbol("z")), u), 5.0),
        (sp.Derivative(u**3, u), 12.0),
        (Called("v", u + 1) ** 2, 9.0),
        (Expect(Indicator(sp.Gt(sp.Symbol("z"), 0))), 0.75),
        (sp.Limit(Expect(sp.Symbol("z")), u, 0), 1.25),  # at whatever u the draws were made
    ],
)
def test_a_formula_is_computed_as_it_is_written(formula, value):
    distances = np.array([[0.0, 2.0, 3.0], [2.0, 0.0, 1.0], [3.0, 1.0, 0.0]])
    drawn = Draws(np.array([1.0, -1.0, 2.0, 3.0]))
    values = {N: 3, i: 1, d: distances, u: 2.0, sp.Symbol("z"): drawn}
    assert evaluate(formula, values) == pytest.approx(value)


def test_a_name_is_printed_and_written_out():
    called = Called("v", u + 1)
    assert say("{it}", it=equal(called, called.formula)).text == "${v} = u + 1$"
    assert (sp.Derivative(called**2, u)).doit() == 2 * (u + 1)


def test_code_is_held_to_its_formula_and_to_its_range():
    def draw(rng):
        return {x: rng.uniform(0, 10)}

    assert Computed("square", x**2, lambda v: v[x] ** 2, draw).run().held
    assert not Computed("square", x**2, lambda v: v[x] ** 2 * (1 + 1e-8), draw).run().held
    assert not Computed("square", x**2, lambda v: np.nan, draw).run().held

    def positive(value):
        if value <= 0:
            raise ValueError

    assert Refused("f", sp.Gt(x, 0, evaluate=False), x, positive).run().held
    assert not Refused("f", sp.Ge(x, 0, evaluate=False), x, positive).run().held
    assert not Refused("f", sp.Gt(x, 1, evaluate=False), x, positive).run().held


@pytest.mark.parametrize("words", ["at least 2 points", "with $x$", "where \\sigma"])
def test_words_carry_no_number_and_no_mathematics(words):
    with pytest.raises(ValueError, match="slots"):
        say(words)


def test_a_claim_that_no_check_holds_is_a_loose_end():
    claim, other = equal(x, 2 * u), equal(x, 3 * u)
    step = Step("why", equal(2 * u, u + u), Identity())
    words = Step("why", claim, Words("a fact"))

    def ends(said, *steps):
        parts = {"it": said}
        statement = Statement(
            "l", "Theorem 1", "theorem", "t", "ours", say(""), say("{it}", **parts), steps, (step,)
        )
        return statement.loose_ends()

    assert ends(claim, step) == []  # a definition, written out in a checked step
    assert ends(other, step) == [other]
    assert ends(claim, words) == [claim, claim]
    assert ends(x, words) == [claim]
    assert ends(sp.Gt(x, u), step) == [sp.Gt(x, u)]


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
    assert len(rows) == len(statement.steps) + len(statement.controls) + len(statement.code)


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_what_is_printed_as_a_fact_is_held_by_a_check(statement):
    assert statement.loose_ends() == []


LISTS = sorted((ROOT / "tests" / "mutants").glob("*.toml"))


@pytest.mark.parametrize("path", LISTS, ids=[path.stem for path in LISTS])
def test_every_mutant_changes_what_is_there_once(path):
    """`make mutants` tries them; here they are held to today's code."""
    for mutant in tomllib.loads(path.read_text())["mutant"]:
        text = (ROOT / mutant["file"]).read_text()
        assert text.count(mutant["old"]) == 1 and mutant["old"] != mutant["new"], mutant
        assert set(mutant["labels"]) <= set(STATEMENTS)


def test_the_row_of_the_proofs_counts_every_kind_of_check():
    """So its numbers add up to the steps."""
    listed = tomllib.loads((ROOT / "book" / "paper.toml").read_text())["claim"]
    row = next(claim["ours"] for claim in listed if claim["id"] == "proofs")
    kinds = {kind.replace("in words", "words") for kind in KINDS} - {"code"}
    assert {kind for kind in kinds if f"{{{kind}}}" not in row} == set()


def test_few_steps_stay_in_words():
    words = [s.check for x in STATEMENTS.values() for s in x.steps if isinstance(s.check, Words)]
    assert len(words) <= 25 and all(check.fact for check in words)


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_no_check_mistakes_its_kind(statement):
    """No floating-point number in a symbolic formula (a rigorous one may state digits).

    Nor one that sympy decided when it was built: the book would print True.
    """
    for step in (*statement.steps, *statement.controls):
        assert step.formula not in (True, False), step.why
        assert step.formula is not None or step.check.kind == "in words", step.why
        if step.check.kind in ("symbolic", "instances"):
            assert not step.formula.has(sp.Float), step.why
    assert not any(isinstance(control.check, Words) for control in statement.controls)


def test_a_statement_without_a_negative_control_is_refused():
    step = Step("why", sp.Eq(x, x, evaluate=False), Words("a fact"))
    with pytest.raises(ValueError, match="negative control"):
        Statement("l", "Theorem 1", "theorem", "t", "ours", say(""), say(""), (step,), ())


def test_a_control_that_does_not_fail_is_counted_among_the_failed():
    rows = [
        Result("a", "step 1", "symbolic", True, "", 0.1),
        Result("a", "control 1", "symbolic", False, "", 0.1),
    ]
    found = Checked(rows)
    assert found.failed == rows[1:] and found.kinds["symbolic"] == 1
    counts = {name: found.in_words[name] for name in ("statements", "steps", "controls", "words")}
    assert counts == {"statements": "1", "steps": "1", "controls": "1", "words": "0"}
